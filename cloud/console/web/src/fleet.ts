// What the console knows of the fleet: one object a vehicle, updated in place.

import { Presence, type VehicleColumns, type WatchVehiclesResponse } from "./gen/remuda/vehicles/v1/vehicles_pb";

/** The states that operators tell apart, by urgency. */
export const STATES = ["attention", "driving", "standing", "away"] as const;
export type State = (typeof STATES)[number];

export const STATE_WORDS: Record<State, string> = {
  attention: "Attention",
  driving: "Driving",
  standing: "Standing",
  away: "Silent",
};

/** Below this a vehicle wants somebody's eye. */
const LOW_CHARGE_PERCENT = 15;
/** An online vehicle that says nothing for so long is not trusted to be where it is drawn. */
const STALE_MS = 30_000;
const UNKNOWN_E7 = 2147483647;
const NEVER = 4294967295;

export type Vehicle = {
  id: string;
  longitude: number;
  latitude: number;
  located: boolean;
  heading: number;
  speedKmh: number;
  chargePercent: number | null;
  presence: Presence;
  openAlerts: number;
  /** When the cloud last heard of it, in this browser's clock; 0 = never. */
  lastSeen: number;
  state: State;
  /** In the points' buffer. */
  slot: number;
};

export function stateOf(vehicle: Vehicle, now: number): State {
  if (vehicle.presence !== Presence.ONLINE || now - vehicle.lastSeen > STALE_MS) return "away";
  const low = vehicle.chargePercent !== null && vehicle.chargePercent < LOW_CHARGE_PERCENT;
  if (vehicle.openAlerts > 0 || low) return "attention";
  return vehicle.speedKmh >= 1 ? "driving" : "standing";
}

export class Fleet {
  /** Ordered by id. */
  vehicles: Vehicle[] = [];
  readonly byId = new Map<string, Vehicle>();
  readonly counts: Record<State, number> = { attention: 0, driving: 0, standing: 0, away: 0 };
  online = 0;
  total = 0;
  /** Grows when vehicles come or go. */
  generation = 0;
  /** States received, ever. */
  updates = 0;

  private rows: Vehicle[] = [];
  private full = new Set<string>();
  private slots = 0;

  /** A new stream gives out its rows anew. */
  restart(): void {
    this.rows = [];
    this.full.clear();
  }

  /** Takes in a response; answers the vehicles it changed. */
  apply(response: WatchVehiclesResponse): Vehicle[] {
    this.total = response.totalSize;
    const changed = response.columns ? this.columns(response.columns) : [];
    for (const name of response.removed) this.remove(name.split("/").at(-1) ?? "");
    if (response.fullState) {
      for (const vehicle of changed) this.full.add(vehicle.id);
      if (response.resumeToken !== "") {
        for (const id of [...this.byId.keys()]) if (!this.full.has(id)) this.remove(id);
        this.full.clear();
      }
    }
    this.updates += changed.length;
    return changed;
  }

  private columns(columns: VehicleColumns): Vehicle[] {
    // Ages are counted in this browser's clock, from when they arrived: the server's may be off.
    const now = Date.now();
    for (const id of columns.introduced) this.rows.push(this.byId.get(id) ?? this.add(id));
    const changed: Vehicle[] = [];
    let row = 0;
    for (let i = 0; i < columns.rowDelta.length; i++) {
      row += columns.rowDelta[i] ?? 0;
      const vehicle = this.rows[row];
      if (!vehicle) continue;
      const latitude = columns.latitudeE7[i] ?? UNKNOWN_E7;
      const longitude = columns.longitudeE7[i] ?? UNKNOWN_E7;
      vehicle.located = latitude !== UNKNOWN_E7 && longitude !== UNKNOWN_E7;
      if (vehicle.located) {
        vehicle.latitude = latitude / 1e7;
        vehicle.longitude = longitude / 1e7;
      }
      vehicle.heading = columns.headingDeg[i] ?? 0;
      vehicle.speedKmh = (columns.speedDkmh[i] ?? 0) / 10;
      const charge = columns.chargePercentPlusOne[i] ?? 0;
      vehicle.chargePercent = charge === 0 ? null : charge - 1;
      vehicle.presence = columns.presence[i] ?? Presence.UNSPECIFIED;
      vehicle.openAlerts = columns.openAlerts[i] ?? 0;
      const age = columns.lastSeenAgeS[i] ?? NEVER;
      vehicle.lastSeen = age === NEVER ? 0 : now - age * 1000;
      vehicle.state = stateOf(vehicle, now);
      changed.push(vehicle);
    }
    return changed;
  }

  private add(id: string): Vehicle {
    const vehicle: Vehicle = {
      id,
      longitude: 0,
      latitude: 0,
      located: false,
      heading: 0,
      speedKmh: 0,
      chargePercent: null,
      presence: Presence.UNSPECIFIED,
      openAlerts: 0,
      lastSeen: 0,
      state: "away",
      slot: this.slots++,
    };
    this.byId.set(id, vehicle);
    this.vehicles.push(vehicle);
    this.generation++;
    return vehicle;
  }

  private remove(id: string): void {
    const vehicle = this.byId.get(id);
    if (!vehicle) return;
    this.byId.delete(id);
    vehicle.located = false;
    this.vehicles = this.vehicles.filter((other) => other !== vehicle);
    this.generation++;
  }

  /** Judges every vehicle anew (time alone makes some stale); answers those whose state changed. */
  recount(now = Date.now()): Vehicle[] {
    const changed: Vehicle[] = [];
    for (const state of STATES) this.counts[state] = 0;
    this.online = 0;
    for (const vehicle of this.vehicles) {
      const state = stateOf(vehicle, now);
      if (state !== vehicle.state) {
        vehicle.state = state;
        changed.push(vehicle);
      }
      this.counts[state]++;
      if (vehicle.presence === Presence.ONLINE) this.online++;
    }
    return changed;
  }

  sort(): void {
    this.vehicles.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  }
}
