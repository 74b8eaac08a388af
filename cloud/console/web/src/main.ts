// The console: a live map, the fleet as a list, one vehicle's twin.

import { connect, forgetToken, keepToken, takeToken, TokenRefused, type Api } from "./api";
import { h, icon, setText } from "./dom";
import { Feed, type FeedState } from "./feed";
import { Fleet, STATES, STATE_WORDS, type State, type Vehicle } from "./fleet";
import { number } from "./format";
import { VehicleEncoding, type WatchVehiclesResponse } from "./gen/remuda/vehicles/v1/vehicles_pb";
import { VehicleList } from "./list";
import { FleetMap } from "./map";
import { Panel } from "./panel";
import "./style.css";

const INTERVAL_MS = 500;
const app = document.getElementById("app")!;

/** What scripts and tests may look at. */
type Handle = {
  fleet: Fleet;
  state: () => FeedState;
  frames: () => number;
  roads: () => number;
  screenOf: (id: string) => { x: number; y: number } | null;
};

class Console {
  private readonly fleet = new Fleet();
  private readonly map: FleetMap;
  private readonly list: VehicleList;
  private readonly panel: Panel;
  private readonly api: Api;
  private readonly only = new Set<State>();
  private readonly banner = h("div", { class: "banner", role: "alert", hidden: true });
  private readonly pill = h("span", { class: "pill", role: "status" });
  private readonly figures = {
    total: h("strong"),
    online: h("strong"),
    rate: h("strong"),
  };
  private readonly chips = new Map<State, { button: HTMLButtonElement; count: HTMLElement }>();
  private readonly search: HTMLInputElement;
  private readonly mapNote = h("p", { class: "map-note", hidden: true });
  private readonly credit = h("p", { class: "credit" });
  private readonly feed: Feed<WatchVehiclesResponse>;
  private state: FeedState = { kind: "connecting" };
  private resumeToken = "";
  private selected: Vehicle | null = null;
  private ready = false;
  private seenUpdates = 0;
  private seenAt = performance.now();
  private rate = 0;
  private shownGeneration = -1;

  constructor(api: Api) {
    this.api = api;
    const canvas = h("div", { class: "map", role: "application", "aria-label": "Live map" });
    this.search = h("input", {
      type: "search",
      placeholder: "Find a vehicle",
      "aria-label": "Find a vehicle",
      autocomplete: "off",
      spellcheck: "false",
      input: () => this.refreshList(),
      keydown: (event: KeyboardEvent) => this.searchKey(event),
    });
    this.list = new VehicleList((vehicle) => this.select(vehicle, true));
    this.panel = new Panel(
      () => this.select(null, false),
      (vehicle) => this.map.setFollowed(vehicle),
    );
    app.replaceChildren(canvas, this.sidebar(), this.panel.element, this.banner, this.mapNote, this.credit);
    this.map = new FleetMap(
      canvas,
      (at) => this.select(this.map.nearest(this.visible(), at), false),
      () => this.panel.setFollowing(false),
    );
    this.insets();
    addEventListener("resize", () => this.insets());
    addEventListener("keydown", (event) => this.key(event));
    void this.loadRoads();
    this.feed = new Feed(
      (signal) => {
        this.fleet.restart();
        const { parent } = this.api;
        const resumeToken = this.resumeToken;
        return this.api.vehicles.watchVehicles(
          { parent, resumeToken, encoding: VehicleEncoding.COLUMNS, intervalMs: INTERVAL_MS },
          { signal },
        );
      },
      (response) => this.take(response),
      (state) => this.tell(state),
    );
    setInterval(() => this.tick(), 1000);
    this.tick();
    const handle: Handle = {
      fleet: this.fleet,
      state: () => this.state,
      frames: () => this.map.points.framesDrawn,
      roads: () => this.map.roadsDrawn(),
      screenOf: (id) => {
        const vehicle = this.fleet.byId.get(id);
        return vehicle ? this.map.screenOf(vehicle) : null;
      },
    };
    Object.assign(window, { remuda: handle });
  }

  private sidebar(): HTMLElement {
    const figure = (element: HTMLElement, name: string) => h("div", { class: "figure" }, element, h("span", {}, name));
    const chip = (state: State) => {
      const count = h("strong", {}, "0");
      const button = h(
        "button",
        { class: "chip", type: "button", "aria-pressed": "false", click: () => this.toggle(state) },
        h("span", { class: "dot", "data-state": state }),
        h("span", { class: "chip-name" }, STATE_WORDS[state]),
        count,
      );
      this.chips.set(state, { button, count });
      return button;
    };
    return h(
      "section",
      { class: "sidebar", "aria-label": "Fleet" },
      h(
        "header",
        { class: "brand" },
        h("img", { src: "/mark.svg", alt: "", width: 26, height: 26 }),
        h("h1", {}, "Remuda"),
        this.pill,
        h(
          "button",
          {
            class: "button icon-only",
            type: "button",
            title: "Show everything",
            "aria-label": "Show everything",
            click: () => {
              this.panel.setFollowing(false);
              this.map.home(false, this.fleet.vehicles);
            },
          },
          icon("expand"),
        ),
      ),
      h(
        "div",
        { class: "figures" },
        figure(this.figures.total, "vehicles"),
        figure(this.figures.online, "online"),
        figure(this.figures.rate, "updates/s"),
      ),
      h("div", { class: "chips", role: "group", "aria-label": "Show only" }, ...STATES.map(chip)),
      h("label", { class: "search" }, icon("search"), this.search),
      this.list.element,
    );
  }

  private async loadRoads(): Promise<void> {
    try {
      const answer = await this.api.fetch("/map/roads.geojson");
      if (answer.status === 204) throw new Error("No map is loaded.");
      if (!answer.ok) throw new Error(`The map answered ${answer.status}.`);
      const roads = (await answer.json()) as GeoJSON.FeatureCollection & { attribution?: string };
      this.map.setRoads(roads);
      setText(this.credit, roads.attribution ?? "");
    } catch (error) {
      setText(this.mapNote, `${error instanceof Error ? error.message : error} Vehicles are shown without roads.`);
      this.mapNote.hidden = false;
    }
  }

  private take(response: WatchVehiclesResponse): void {
    const changed = this.fleet.apply(response);
    if (response.resumeToken) this.resumeToken = response.resumeToken;
    this.map.points.take(changed);
    if (!this.ready && response.resumeToken) {
      this.ready = true;
      this.fleet.sort();
      this.map.home(true, this.fleet.vehicles);
      this.tick();
    }
    if (this.shownGeneration !== this.fleet.generation) this.refreshList();
    else this.list.draw();
    if (this.selected && !this.fleet.byId.has(this.selected.id)) this.select(null, false);
  }

  private tell(state: FeedState): void {
    this.state = state;
    if (state.kind === "refused") {
      forgetToken();
      location.reload();
      return;
    }
    this.showState();
  }

  private showState(): void {
    const { state } = this;
    const words = { connecting: "connecting", live: "live", waiting: "offline", refused: "refused" };
    this.pill.dataset["kind"] = state.kind;
    setText(this.pill, words[state.kind]);
    document.body.classList.toggle("disconnected", state.kind === "waiting" || (this.ready && state.kind === "connecting"));
    if (state.kind !== "waiting") {
      this.banner.hidden = state.kind !== "connecting" || this.banner.hidden;
      return;
    }
    const seconds = Math.max(0, Math.ceil((state.until - Date.now()) / 1000));
    if (this.banner.hidden) {
      this.banner.replaceChildren(
        h("span"),
        h("button", { class: "button", type: "button", click: () => this.feed.retryNow() }, "Try now"),
      );
    }
    const stale = this.ready ? "What you see is the last known state." : "";
    setText(this.banner.firstElementChild as HTMLElement, `No connection. ${stale} Trying again in ${seconds} s.`);
    this.banner.hidden = false;
  }

  /** Once a second: judgements that time changes, figures, ages. */
  private tick(): void {
    this.map.points.restyle(this.fleet.recount());
    const now = performance.now();
    if (now - this.seenAt > 900) {
      const rate = ((this.fleet.updates - this.seenUpdates) * 1000) / (now - this.seenAt);
      this.rate += (rate - this.rate) * 0.4;
      [this.seenUpdates, this.seenAt] = [this.fleet.updates, now];
    }
    setText(this.figures.total, number(this.fleet.total));
    setText(this.figures.online, number(this.fleet.online));
    setText(this.figures.rate, number(Math.round(this.rate)));
    for (const [state, { count }] of this.chips) setText(count, number(this.fleet.counts[state]));
    this.showState();
    if (this.only.size > 0) this.refreshList();
    else this.list.draw();
  }

  private visible(): Vehicle[] {
    return this.only.size === 0 ? this.fleet.vehicles : this.fleet.vehicles.filter((v) => this.only.has(v.state));
  }

  private refreshList(): void {
    if (this.shownGeneration !== this.fleet.generation) this.fleet.sort();
    this.shownGeneration = this.fleet.generation;
    const wanted = this.search.value.trim().toLowerCase();
    const found = wanted ? this.visible().filter((v) => v.id.toLowerCase().includes(wanted)) : this.visible();
    let why = "Loading the fleet…";
    if (this.ready) why = "No vehicles yet. They appear when their agents say hello.";
    if (this.ready && this.fleet.vehicles.length > 0) why = "No vehicle matches.";
    this.list.show(found, why);
    this.list.select(this.selected, false);
  }

  private toggle(state: State): void {
    if (!this.only.delete(state)) this.only.add(state);
    for (const [of, { button }] of this.chips) button.setAttribute("aria-pressed", String(this.only.has(of)));
    this.map.points.only = this.only.size > 0 ? this.only : null;
    this.map.points.restyle(this.fleet.vehicles);
    this.refreshList();
  }

  private select(vehicle: Vehicle | null, show: boolean): void {
    const before = this.selected;
    this.selected = vehicle;
    this.map.points.selected = vehicle;
    this.map.points.restyle([before, vehicle].filter((v): v is Vehicle => v !== null));
    if (vehicle) this.panel.open(this.api, vehicle);
    else this.panel.close();
    this.insets();
    this.list.select(vehicle, !show);
    if (vehicle && show) this.map.show(vehicle);
  }

  private insets(): void {
    const wide = innerWidth > 820;
    const covered = this.selected ? 0.6 : 0.42;
    this.map.setInsets(wide ? 320 : 0, wide && this.selected ? 380 : 0, wide ? 0 : innerHeight * covered);
    document.body.classList.toggle("panel-open", this.selected !== null);
  }

  private searchKey(event: KeyboardEvent): void {
    if (event.key === "ArrowDown") {
      this.list.element.focus();
      event.preventDefault();
    } else if (event.key === "Enter") {
      const wanted = this.search.value.trim().toLowerCase();
      const first = this.visible().find((v) => v.id.toLowerCase().includes(wanted));
      if (wanted && first) this.select(first, true);
    }
  }

  private key(event: KeyboardEvent): void {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key === "/" && !typing) {
      this.search.focus();
      event.preventDefault();
    } else if (event.key === "Escape") {
      if (typing && this.search.value) {
        this.search.value = "";
        this.refreshList();
      } else if (this.selected) this.select(null, false);
    } else if (event.key === "f" && !typing && this.selected) this.panel.setFollowing(true);
  }
}

/** Asks for the token. */
function askForToken(problem: string): void {
  const input = h("input", { type: "password", "aria-label": "Token", placeholder: "Token", autocomplete: "off", required: true });
  const form = h(
    "form",
    {
      class: "gate",
      submit: (event: SubmitEvent) => {
        event.preventDefault();
        keepToken(input.value.trim());
        void start();
      },
    },
    h("img", { src: "/mark.svg", alt: "", width: 44, height: 44 }),
    h("h1", {}, "Remuda"),
    h("p", { class: "muted" }, problem),
    input,
    h("button", { class: "button primary", type: "submit" }, "Open the console"),
  );
  app.replaceChildren(form);
  input.focus();
}

async function start(): Promise<void> {
  const token = takeToken();
  if (!token) return askForToken("Open the address that the node printed at its start, or enter its token.");
  for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
    try {
      const api = await connect(token);
      new Console(api);
      return;
    } catch (error) {
      if (error instanceof TokenRefused) {
        forgetToken();
        return askForToken("This token is not valid here. The node makes a new one at each start unless it is given one.");
      }
      const reason = error instanceof Error ? error.message : String(error);
      if (/webgl/i.test(reason)) {
        app.replaceChildren(h("div", { class: "gate" }, h("p", {}, "The map needs WebGL 2, which this browser does not offer.")));
        return;
      }
      app.replaceChildren(h("div", { class: "gate" }, h("p", { class: "muted", role: "status" }, "The console does not answer. Trying again…")));
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

void start();
