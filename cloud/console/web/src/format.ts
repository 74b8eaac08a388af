// How values and ages are written.

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { SignalValue } from "./gen/remuda/vehicles/v1/vehicles_pb";

export function millis(time: Timestamp): number {
  return Number(time.seconds) * 1000 + time.nanos / 1e6;
}

/** "0.4 s", "12 s", "3 min", "2 h", "5 d": as exact as the age is young. */
export function age(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.floor(seconds)} s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const UNITS: Record<string, string> = { percent: "%", degrees: "°", celsius: "°C", "degrees/s": "°/s", "m/s^2": "m/s²", "cm^3": "cm³", "degree": "°" };

/** A value with its unit: a space between, but for degrees of arc. */
export function withUnit(text: string, name: string): string {
  const written = unit(name);
  return written === "" ? text : written === "°" ? `${text}°` : `${text} ${written}`;
}

export function unit(name: string): string {
  return UNITS[name] ?? name;
}

export function value(signal: SignalValue): string {
  switch (signal.value.case) {
    case "number":
      return number(signal.value.value, signal.decimals);
    case "boolean":
      return signal.value.value ? "yes" : "no";
    case "text":
      // Names such as SWITCHING_TO_REVERSE are the registry's, not people's.
      return signal.value.value.replaceAll("_", " ").toLowerCase();
    case "raw":
      return `raw ${signal.value.value}`;
    default:
      return "–";
  }
}

export function number(n: number, decimals = 0): string {
  return n.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).replaceAll(",", "\u202f");
}

/** `Vehicle.Powertrain.TractionBattery.StateOfCharge.Current` as its branch and the rest, spaced for reading. */
export function splitPath(path: string): { group: string; name: string } {
  const parts = path.replace(/^Vehicle\./, "").split(".");
  const spaced = (text: string) => text.replace(/([a-z0-9])([A-Z])|([A-Z])(?=[A-Z][a-z])/g, "$1$3 $2");
  if (parts.length === 1) return { group: "Vehicle", name: spaced(parts[0] ?? path) };
  return { group: spaced(parts[0] ?? ""), name: parts.slice(1).map(spaced).join(" · ") };
}
