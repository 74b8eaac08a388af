// One vehicle: its twin, live, with the age of every value.

import type { Api } from "./api";
import { h, icon, setText } from "./dom";
import { Feed, type FeedState } from "./feed";
import { STATE_WORDS, type Vehicle } from "./fleet";
import { age, millis, number, splitPath, value, withUnit } from "./format";
import { Presence, type Alert, type Vehicle as ApiVehicle } from "./gen/remuda/vehicles/v1/vehicles_pb";

/** Older than this a value is marked. Signals that come on change only are repeated more often than that. */
const OLD_MS = 120_000;

type SignalRow = { element: HTMLElement; value: HTMLElement; age: HTMLElement; sampled: number };

export class Panel {
  readonly element: HTMLElement;
  private readonly title = h("h2");
  private readonly badge = h("span", { class: "badge" });
  private readonly seen = h("span", { class: "muted" });
  private readonly followButton: HTMLButtonElement;
  private readonly facts = h("div", { class: "facts" });
  private readonly alerts = h("div", { class: "alerts" });
  private readonly signals = h("div", { class: "signals" });
  private readonly delivery = h("dl", { class: "delivery" });
  private readonly state = h("p", { class: "panel-state", role: "status" });
  private readonly rows = new Map<string, SignalRow>();
  private readonly groups = new Map<string, HTMLElement>();
  private readonly alertAges: { element: HTMLElement; raised: number }[] = [];
  private vehicle: Vehicle | null = null;
  private feed: Feed<ApiVehicle> | null = null;
  /** The server's clock minus ours. */
  private offset = 0;
  private following = false;
  private readonly onFollow: (vehicle: Vehicle | null) => void;

  constructor(onClose: () => void, onFollow: (vehicle: Vehicle | null) => void) {
    this.onFollow = onFollow;
    this.followButton = h(
      "button",
      { class: "button", type: "button", "aria-pressed": "false", click: () => this.setFollowing(!this.following) },
      icon("follow"),
      "Follow",
    );
    this.element = h(
      "aside",
      { class: "panel", "aria-label": "Vehicle", hidden: true },
      h(
        "header",
        { class: "panel-head" },
        this.title,
        this.followButton,
        h("button", { class: "button icon-only", type: "button", "aria-label": "Close", click: onClose }, icon("close")),
        h("div", { class: "panel-sub" }, this.badge, this.seen),
      ),
      h("div", { class: "panel-body" }, this.state, this.facts, this.alerts, this.signals, this.delivery),
    );
    setInterval(() => this.tick(), 250);
  }

  open(api: Api, vehicle: Vehicle): void {
    if (vehicle === this.vehicle) return;
    this.close();
    this.vehicle = vehicle;
    this.element.hidden = false;
    setText(this.title, vehicle.id);
    setText(this.state, "Reading the twin…");
    this.head();
    this.feed = new Feed(
      (signal) => api.vehicles.watchVehicle({ name: api.nameOf(vehicle.id), intervalMs: 500 }, { signal }),
      (message) => this.take(message),
      (state) => this.tell(state),
    );
  }

  close(): void {
    this.feed?.stop();
    this.feed = null;
    this.vehicle = null;
    this.setFollowing(false);
    this.element.hidden = true;
    this.rows.clear();
    this.groups.clear();
    this.alertAges.length = 0;
    for (const part of [this.facts, this.alerts, this.signals, this.delivery]) part.replaceChildren();
  }

  setFollowing(on: boolean): void {
    if (on === this.following) return;
    this.following = on;
    this.followButton.setAttribute("aria-pressed", String(on));
    this.onFollow(on ? this.vehicle : null);
  }

  private tell(state: FeedState): void {
    const words: Record<FeedState["kind"], string> = {
      connecting: this.rows.size === 0 ? "Reading the twin…" : "Reconnecting…",
      live: "",
      waiting: "Connection lost; these values are no longer live.",
      refused: "This vehicle is not known here any more.",
    };
    setText(this.state, words[state.kind]);
    this.element.classList.toggle("not-live", state.kind !== "live" && this.rows.size > 0);
  }

  private take(message: ApiVehicle): void {
    const twin = message.twin;
    if (!twin) return;
    if (twin.readTime) this.offset = millis(twin.readTime) - Date.now();
    setText(this.state, twin.signals.length === 0 ? "No signal has been received from this vehicle yet." : "");
    this.head();
    for (const signal of twin.signals) {
      const path = signal.path || `Signal ${signal.signalId}`;
      const row = this.rows.get(path) ?? this.addRow(path);
      setText(row.value, withUnit(value(signal), signal.unit));
      row.sampled = signal.sampleTime ? millis(signal.sampleTime) : 0;
    }
    this.takeAlerts(twin.alerts);
    const d = twin.delivery;
    if (d) {
      const pairs: [string, string][] = [
        ["Frames stored", number(Number(d.framesDurable))],
        ["Lost at the vehicle", number(Number(d.framesInGaps))],
        ["Quarantined", number(Number(d.framesQuarantined))],
        ...d.refusals.map((r): [string, string] => [`Refused: ${r.reason}`, number(Number(r.count))]),
      ];
      this.delivery.replaceChildren(
        h("h3", {}, "Delivery"),
        ...pairs.map(([name, n]) => h("div", { class: "pair" }, h("dt", {}, name), h("dd", {}, n))),
      );
    }
    this.tick();
  }

  private takeAlerts(alerts: Alert[]): void {
    this.alertAges.length = 0;
    this.alerts.replaceChildren(
      ...alerts.map((alert) => {
        const since = h("span", { class: "age" });
        if (alert.raiseTime) this.alertAges.push({ element: since, raised: millis(alert.raiseTime) });
        const name = alert.rule.replaceAll("-", " ");
        return h(
          "div",
          { class: "alert" },
          icon("alert"),
          h("span", { class: "alert-name" }, name.charAt(0).toUpperCase() + name.slice(1)),
          h("span", { class: "muted" }, `at ${number(alert.value, 1)}`),
          since,
        );
      }),
    );
  }

  private addRow(path: string): SignalRow {
    const { group, name } = splitPath(path);
    let box = this.groups.get(group);
    if (!box) {
      box = h("section", { class: "group" }, h("h3", {}, group));
      this.groups.set(group, box);
      this.signals.append(box);
    }
    const row: SignalRow = {
      element: h("div", { class: "signal", title: path }),
      value: h("span", { class: "signal-value" }),
      age: h("span", { class: "age" }),
      sampled: 0,
    };
    row.element.append(h("span", { class: "signal-name" }, name), row.value, row.age);
    box.append(row.element);
    this.rows.set(path, row);
    return row;
  }

  private head(): void {
    const vehicle = this.vehicle;
    if (!vehicle) return;
    this.badge.dataset["state"] = vehicle.state;
    setText(this.badge, STATE_WORDS[vehicle.state]);
    const facts: [string, string][] = [
      ["Speed", vehicle.located ? `${number(vehicle.speedKmh, 0)} km/h` : "–"],
      ["Charge", vehicle.chargePercent === null ? "–" : `${vehicle.chargePercent} %`],
      ["Heading", vehicle.located ? `${Math.round(vehicle.heading)}°` : "–"],
    ];
    if (this.facts.childElementCount !== facts.length) {
      this.facts.replaceChildren(
        ...facts.map(([name]) => h("div", { class: "fact" }, h("span", { class: "fact-value" }), h("span", {}, name))),
      );
    }
    facts.forEach(([, text], i) => setText(this.facts.children[i]!.firstElementChild as HTMLElement, text));
  }

  private tick(): void {
    const vehicle = this.vehicle;
    if (!vehicle) return;
    const now = Date.now();
    const there = vehicle.presence === Presence.ONLINE ? "online" : "offline";
    setText(this.seen, vehicle.lastSeen ? `${there}, heard ${age(now - vehicle.lastSeen)} ago` : "never heard of");
    this.head();
    for (const row of this.rows.values()) {
      const old = row.sampled === 0 ? Number.POSITIVE_INFINITY : now + this.offset - row.sampled;
      setText(row.age, row.sampled === 0 ? "no time" : age(old));
      row.element.classList.toggle("old", old > OLD_MS);
    }
    for (const { element, raised } of this.alertAges) setText(element, age(now + this.offset - raised));
  }
}
