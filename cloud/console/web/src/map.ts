// The map: roads below, vehicles above. Nothing is fetched from elsewhere, and no text is drawn (that would need glyphs).

import * as maplibregl from "maplibre-gl";
import type { LngLatBoundsLike, StyleSpecification } from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
// MapLibre 6 looks for its worker beside its own file, which a bundle does not have; without this the map stays empty.
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import type { Vehicle } from "./fleet";
import { Points, type PointColours } from "./points";

maplibregl.setWorkerUrl(workerUrl);

type Theme = { land: string; casing: string; minor: string; middle: string; major: string; far: [string, string, string]; points: PointColours };

const rgb = (hex: string) =>
  [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255) as [number, number, number];

const THEMES: Record<"dark" | "light", Theme> = {
  dark: {
    land: "#11181d",
    casing: "#0c1215",
    minor: "#27343c",
    middle: "#344550",
    major: "#465966",
    far: ["#2a3840", "#34454f", "#4a5e6b"],
    points: {
      attention: rgb("#ffb224"),
      driving: rgb("#3dd6a8"),
      standing: rgb("#6aa8ff"),
      away: rgb("#7d8b94"),
      outline: rgb("#0b1013"),
    },
  },
  light: {
    land: "#eaeeed",
    casing: "#cfd8d8",
    minor: "#ffffff",
    middle: "#ffffff",
    major: "#fff6df",
    // White hairlines would drown in the land.
    far: ["#cdd6d6", "#bcc8c8", "#a3b2b2"],
    points: {
      attention: rgb("#d9770a"),
      driving: rgb("#0c8f6b"),
      standing: rgb("#2767d6"),
      away: rgb("#75838c"),
      outline: rgb("#ffffff"),
    },
  },
};

const MAJOR = ["motorway", "trunk", "primary"];
const MIDDLE = ["secondary", "tertiary"];

function style(theme: Theme): StyleSpecification {
  const byClass = <T>(major: T, middle: T, minor: T) =>
    ["match", ["get", "class"], MAJOR, major, MIDDLE, middle, minor] as unknown as T;
  const width = (extra: number) =>
    [
      "interpolate",
      ["exponential", 1.6],
      ["zoom"],
      10,
      byClass(1.1, 0.7, 0.35),
      13,
      byClass(3.2 + extra, 2.2 + extra, 1.2 + extra),
      16,
      byClass(13 + extra * 2, 10 + extra * 2, 7 + extra * 2),
      19,
      byClass(46 + extra * 2, 40 + extra * 2, 30 + extra * 2),
    ] as never;
  const [farMinor, farMiddle, farMajor] = theme.far;
  const colour = [
    "interpolate",
    ["linear"],
    ["zoom"],
    12,
    byClass(farMajor, farMiddle, farMinor),
    13.5,
    byClass(theme.major, theme.middle, theme.minor),
  ] as never;
  const order = byClass(3, 2, 1);
  const round = { "line-cap": "round", "line-join": "round" } as const;
  return {
    version: 8,
    sources: { roads: { type: "geojson", data: { type: "FeatureCollection", features: [] } } },
    layers: [
      { id: "land", type: "background", paint: { "background-color": theme.land } },
      {
        id: "casing",
        type: "line",
        source: "roads",
        minzoom: 12,
        layout: { ...round, "line-sort-key": order },
        paint: { "line-color": theme.casing, "line-width": width(1.6) },
      },
      {
        id: "roads",
        type: "line",
        source: "roads",
        layout: { ...round, "line-sort-key": order },
        paint: { "line-color": colour, "line-width": width(0) },
      },
    ],
  };
}

export class FleetMap {
  readonly points: Points;
  readonly map: maplibregl.Map;
  /** The roads' west, south, east, north. */
  private bounds: [number, number, number, number] | null = null;
  /** A person has moved the map: it is theirs now. */
  private moved = false;
  private placed: "nowhere" | "fleet" | "roads" = "nowhere";
  private roads: GeoJSON.GeoJSON | null = null;
  private followed: Vehicle | null = null;
  private insets = { left: 0, right: 0, bottom: 0 };

  constructor(container: HTMLElement, onPick: (at: { x: number; y: number }) => void, onDrag: () => void) {
    const prefersLight = matchMedia("(prefers-color-scheme: light)");
    const theme = () => THEMES[prefersLight.matches ? "light" : "dark"];
    this.points = new Points(theme().points);
    this.map = new maplibregl.Map({
      container,
      style: style(theme()),
      center: [12, 50],
      zoom: 3,
      maxZoom: 20,
      attributionControl: false,
      fadeDuration: 0,
      pitchWithRotate: false,
    });
    this.map.addControl(new maplibregl.NavigationControl({ visualizePitch: false }), "bottom-right");
    this.map.addControl(new maplibregl.ScaleControl({ maxWidth: 90 }), "bottom-right");
    this.map.on("style.load", () => {
      this.map.addLayer(this.points);
      if (this.roads) this.source()?.setData(this.roads);
    });
    prefersLight.addEventListener("change", () => {
      this.points.setColours(theme().points);
      this.map.setStyle(style(theme()), { diff: false });
    });
    this.map.on("click", (event) => onPick(event.point));
    this.map.on("dragstart", () => onDrag());
    this.map.on("movestart", (event) => {
      if (event.originalEvent) this.moved = true;
    });
    this.map.on("render", () => this.follow());
  }

  private source(): maplibregl.GeoJSONSource | undefined {
    return this.map.getSource("roads");
  }

  setRoads(roads: GeoJSON.FeatureCollection): void {
    this.roads = roads;
    this.source()?.setData(roads);
    const box = roads.bbox ?? boxOf(roads);
    if (box && box.length === 4) this.bounds = box as [number, number, number, number];
    if (this.bounds) this.home(true);
  }

  /** Shows the whole road network, or the fleet where there is none. */
  home(first = false, vehicles: readonly Vehicle[] = []): void {
    let bounds: LngLatBoundsLike | null = this.bounds;
    if (!bounds) {
      const box = new maplibregl.LngLatBounds();
      for (const v of vehicles) if (v.located) box.extend([v.longitude, v.latitude]);
      if (!box.isEmpty()) bounds = box;
    }
    const place = this.bounds ? "roads" : "fleet";
    if (!bounds || (first && (this.moved || this.placed === place))) return;
    this.placed = place;
    this.map.fitBounds(bounds, { padding: this.padding(28), maxZoom: 16, animate: !first });
  }

  /** How much of the map's sides panels cover. */
  setInsets(left: number, right: number, bottom: number): void {
    this.insets = { left, right, bottom };
  }

  private padding(extra: number): { top: number; bottom: number; left: number; right: number } {
    const { left, right, bottom } = this.insets;
    return { top: extra, bottom: bottom + extra, left: left + extra, right: right + extra };
  }

  /** The middle of what is not covered, from the middle of the map. Not as padding, which the map would keep. */
  private offset(): [number, number] {
    const { left, right, bottom } = this.insets;
    return [(left - right) / 2, -bottom / 2];
  }

  /** Brings a vehicle into view. */
  show(vehicle: Vehicle): void {
    this.moved = true;
    const at = this.points.positionOf(vehicle);
    if (!at) return;
    const zoom = Math.max(this.map.getZoom(), 14.5);
    this.map.easeTo({ center: at, zoom, offset: this.offset(), duration: 600 });
  }

  setFollowed(vehicle: Vehicle | null): void {
    this.followed = vehicle;
    if (vehicle) this.show(vehicle);
  }

  private follow(): void {
    if (!this.followed || this.map.isMoving()) return;
    const at = this.points.positionOf(this.followed);
    if (!at) return;
    const [x, y] = this.offset();
    const place = this.map.project(at);
    this.map.jumpTo({ center: this.map.unproject([place.x - x, place.y - y]) });
  }

  /** The vehicle nearest to a place on the screen, if one is near enough. */
  nearest(vehicles: readonly Vehicle[], at: { x: number; y: number }): Vehicle | null {
    let best: Vehicle | null = null;
    let distance = Math.max(16, this.points.size() * 0.75);
    for (const vehicle of vehicles) {
      const place = this.points.positionOf(vehicle);
      if (!place) continue;
      const screen = this.map.project(place);
      const d = Math.hypot(screen.x - at.x, screen.y - at.y);
      if (d < distance) [best, distance] = [vehicle, d];
    }
    return best;
  }

  /** How many roads are in the picture. */
  roadsDrawn(): number {
    return this.map.getLayer("roads") ? this.map.queryRenderedFeatures({ layers: ["roads"] }).length : 0;
  }

  /** Where a vehicle is drawn, in pixels of the map; null when out of view. */
  screenOf(vehicle: Vehicle): { x: number; y: number } | null {
    const place = this.points.positionOf(vehicle);
    if (!place) return null;
    const { x, y } = this.map.project(place);
    const canvas = this.map.getCanvas();
    const inside = x >= 0 && y >= 0 && x <= canvas.clientWidth && y <= canvas.clientHeight;
    return inside ? { x, y } : null;
  }
}

function boxOf(roads: GeoJSON.FeatureCollection): number[] | null {
  const box = new maplibregl.LngLatBounds();
  for (const { geometry } of roads.features) {
    if (geometry.type === "LineString") for (const at of geometry.coordinates) box.extend(at as [number, number]);
  }
  return box.isEmpty() ? null : [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()];
}
