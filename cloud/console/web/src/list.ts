// The fleet as a list: searched, filtered, and only as many elements as fit on the screen.

import { h, setText } from "./dom";
import { STATE_WORDS, type State, type Vehicle } from "./fleet";
import { Presence } from "./gen/remuda/vehicles/v1/vehicles_pb";
import { age } from "./format";

const ROW_PX = 44;

type Row = { element: HTMLElement; id: HTMLElement; state: HTMLElement; note: HTMLElement; charge: HTMLElement };

export class VehicleList {
  readonly element: HTMLElement;
  private readonly space: HTMLElement;
  private readonly empty: HTMLElement;
  private readonly rows: Row[] = [];
  private shown: Vehicle[] = [];
  private active = -1;
  private selected: Vehicle | null = null;
  private readonly onSelect: (vehicle: Vehicle) => void;

  constructor(onSelect: (vehicle: Vehicle) => void) {
    this.onSelect = onSelect;
    this.space = h("div", { class: "list-space" });
    this.empty = h("p", { class: "empty", hidden: true });
    this.element = h(
      "div",
      {
        class: "list",
        role: "listbox",
        tabindex: 0,
        "aria-label": "Vehicles",
        scroll: () => this.draw(),
        keydown: (event: KeyboardEvent) => this.key(event),
      },
      this.space,
      this.empty,
    );
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** What to show; the order is kept. */
  show(vehicles: Vehicle[], emptyText: string): void {
    this.shown = vehicles;
    if (this.active >= vehicles.length) this.active = vehicles.length - 1;
    setText(this.empty, emptyText);
    this.empty.hidden = vehicles.length > 0;
    this.space.style.height = `${vehicles.length * ROW_PX}px`;
    this.draw();
  }

  select(vehicle: Vehicle | null, reveal: boolean): void {
    this.selected = vehicle;
    const at = vehicle ? this.shown.indexOf(vehicle) : -1;
    if (at >= 0) {
      this.active = at;
      if (reveal) this.reveal(at);
    }
    this.draw();
  }

  private reveal(index: number): void {
    const top = index * ROW_PX;
    const list = this.element;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW_PX > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_PX - list.clientHeight;
  }

  private key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW_PX) - 1);
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    const last = this.shown.length - 1;
    let next = this.active;
    if (event.key in steps) next += steps[event.key]!;
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = last;
    else if (event.key === "Enter" || event.key === " ") {
      const vehicle = this.shown[this.active];
      if (vehicle) this.onSelect(vehicle);
      event.preventDefault();
      return;
    } else return;
    event.preventDefault();
    this.active = Math.max(0, Math.min(last, next));
    this.reveal(this.active);
    this.draw();
  }

  /** Fills the rows that are in view. */
  draw(): void {
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW_PX));
    const count = Math.min(this.shown.length - first, Math.ceil(this.element.clientHeight / ROW_PX) + 1);
    const now = Date.now();
    for (let i = 0; i < Math.max(count, this.rows.length); i++) {
      const index = first + i;
      const vehicle = i < count ? this.shown[index] : undefined;
      const row = this.rows[i] ?? (vehicle ? this.addRow() : null);
      if (!row) break;
      row.element.hidden = !vehicle;
      if (!vehicle) continue;
      this.fill(row, vehicle, index, now);
    }
    const active = this.rows[this.active - first];
    if (this.active >= first && this.active < first + count && active) {
      this.element.setAttribute("aria-activedescendant", active.element.id);
    } else this.element.removeAttribute("aria-activedescendant");
  }

  private addRow(): Row {
    const row: Row = {
      id: h("span", { class: "row-id" }),
      state: h("span", { class: "dot" }),
      note: h("span", { class: "row-note" }),
      charge: h("span", { class: "row-charge" }),
      element: h("div"),
    };
    const index = this.rows.length;
    row.element = h(
      "div",
      {
        class: "row",
        role: "option",
        id: `row-${index}`,
        click: () => {
          const vehicle = this.shown[Number(row.element.dataset["index"])];
          if (vehicle) this.onSelect(vehicle);
        },
      },
      row.state,
      row.id,
      row.note,
      row.charge,
    );
    this.rows.push(row);
    this.space.append(row.element);
    return row;
  }

  private fill(row: Row, vehicle: Vehicle, index: number, now: number): void {
    const { element } = row;
    element.style.transform = `translateY(${index * ROW_PX}px)`;
    element.dataset["index"] = String(index);
    element.dataset["vehicle"] = vehicle.id;
    element.setAttribute("aria-setsize", String(this.shown.length));
    element.setAttribute("aria-posinset", String(index + 1));
    element.setAttribute("aria-selected", String(vehicle === this.selected));
    element.classList.toggle("active", index === this.active);
    setText(row.id, vehicle.id);
    row.state.dataset["state"] = vehicle.state;
    row.state.title = STATE_WORDS[vehicle.state];
    setText(row.note, note(vehicle, now));
    const charge = vehicle.chargePercent;
    setText(row.charge, charge === null ? "" : `${charge} %`);
    row.charge.classList.toggle("low", charge !== null && charge < 15);
  }
}

function note(vehicle: Vehicle, now: number): string {
  const words: Record<State, () => string> = {
    away: () => {
      if (vehicle.lastSeen === 0) return "never seen";
      const word = vehicle.presence === Presence.ONLINE ? "silent" : "offline";
      return `${word} ${age(now - vehicle.lastSeen)}`;
    },
    attention: () =>
      vehicle.openAlerts > 0 ? `${vehicle.openAlerts} alert${vehicle.openAlerts > 1 ? "s" : ""}` : "low charge",
    driving: () => `${Math.round(vehicle.speedKmh)} km/h`,
    standing: () => "standing",
  };
  return words[vehicle.state]();
}
