// The vehicles on the map: one WebGL layer. The graphics card moves each point from where it was to where it is, so that
// thousands of vehicles glide while the browser's thread writes a buffer twice a second.

import * as maplibregl from "maplibre-gl";
import type { CustomLayerInterface, CustomRenderMethodInput, Map as GlMap } from "maplibre-gl";
import { STATES, type State, type Vehicle } from "./fleet";

export type PointColours = Record<State, [number, number, number]> & { outline: [number, number, number] };

/** Floats a vehicle: from x, y, to x, y; start, end (s), heading from, to (degrees); state, flags. */
const STRIDE = 10;
const MOVING = 1;
const HIDDEN = 2;
const DIMMED = 4;
const SELECTED = 8;
/** A jump farther than this (in mercator units, about 1 km at 60 degrees) is not driven but taken. */
const JUMP = 5e-5;
/** Float seconds lose their milliseconds after some hours, so times start anew. */
const REBASE_S = 3600;

const VERTEX = `#version 300 es
precision highp float;
uniform mat4 u_matrix;
uniform float u_now, u_size, u_bearing;
in vec4 a_move;
in vec4 a_time;
in vec2 a_look;
out vec2 v_turn;
flat out int v_state, v_flags;
flat out float v_size;
void main() {
  int flags = int(a_look.y);
  float t = clamp((u_now - a_time.x) / max(a_time.y - a_time.x, 0.001), 0.0, 1.0);
  float turn = mod(a_time.w - a_time.z + 540.0, 360.0) - 180.0;
  float heading = radians(a_time.z + turn * min(t * 2.0, 1.0) - u_bearing);
  v_turn = vec2(cos(heading), sin(heading));
  v_state = int(a_look.x);
  v_flags = flags;
  float size = u_size * ((flags & ${SELECTED}) != 0 ? 1.9 : 1.0);
  v_size = size;
  gl_PointSize = size;
  gl_Position = (flags & ${HIDDEN}) != 0 ? vec4(2.0, 2.0, 2.0, 1.0) : u_matrix * vec4(mix(a_move.xy, a_move.zw, t), 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 u_colours[4];
uniform vec3 u_outline;
in vec2 v_turn;
flat in int v_state, v_flags;
flat in float v_size;
out vec4 colour;
float arrow(vec2 p) {
  vec2 v[4] = vec2[4](vec2(0.0, -0.86), vec2(0.62, 0.72), vec2(0.0, 0.38), vec2(-0.62, 0.72));
  float d = dot(p - v[0], p - v[0]);
  float s = 1.0;
  for (int i = 0, j = 3; i < 4; j = i, i++) {
    vec2 e = v[j] - v[i];
    vec2 w = p - v[i];
    vec2 b = w - e * clamp(dot(w, e) / dot(e, e), 0.0, 1.0);
    d = min(d, dot(b, b));
    bvec3 c = bvec3(p.y >= v[i].y, p.y < v[j].y, e.x * w.y > e.y * w.x);
    if (all(c) || all(not(c))) s = -s;
  }
  return s * sqrt(d);
}
void main() {
  vec2 p = gl_PointCoord * 2.0 - 1.0;
  bool selected = (v_flags & ${SELECTED}) != 0;
  float scale = selected ? 1.9 : 1.0;
  float pixel = 2.0 * scale / v_size;
  vec2 q = p * scale;
  q = vec2(q.x * v_turn.x + q.y * v_turn.y, q.y * v_turn.x - q.x * v_turn.y);
  bool small_ = v_size / scale < 11.0;
  bool moving = (v_flags & ${MOVING}) != 0;
  float d = small_ ? length(q) - 0.62 : moving ? arrow(q) - 0.04 : length(q) - 0.46;
  vec3 fill = u_colours[v_state];
  float inside = 1.0 - smoothstep(-pixel, pixel * 0.4, d);
  float edge = small_ ? 0.16 : 0.14;
  float body = 1.0 - smoothstep(edge - pixel, edge + pixel * 0.4, d);
  bool hollow = v_state == 3 && !small_;
  vec3 rgb = mix(u_outline, fill, hollow ? inside * smoothstep(-0.26, -0.26 + pixel, d) : inside);
  float alpha = body;
  if (selected) {
    float ring = abs(length(p) * scale - 1.55) - 0.12;
    float on = 1.0 - smoothstep(-pixel, pixel, ring);
    rgb = mix(rgb, fill, on);
    alpha = max(alpha, max(on, 0.22 * (1.0 - smoothstep(1.5, 1.6, length(p) * scale))));
    if (alpha < 0.25) rgb = fill;
  }
  if ((v_flags & ${DIMMED}) != 0 && !selected) alpha *= 0.14;
  if (alpha < 0.01) discard;
  colour = vec4(rgb * alpha, alpha);
}`;

export class Points implements CustomLayerInterface {
  readonly id = "vehicles";
  readonly type = "custom" as const;
  readonly renderingMode = "2d" as const;
  selected: Vehicle | null = null;
  only: ReadonlySet<State> | null = null;
  /** Vehicles that the last frame drew inside the view. */
  framesDrawn = 0;

  private data = new Float32Array(1024 * STRIDE);
  private count = 0;
  private dirty = true;
  private origin: [number, number] | null = null;
  private base = performance.now();
  private movesUntil = 0;
  /** How often each vehicle is heard of, seconds, smoothed: it glides for about as long. */
  private gaps = new Float32Array(1024);
  private colours: PointColours;
  private readonly still = matchMedia("(prefers-reduced-motion: reduce)");
  private map: GlMap | null = null;
  private gpu: {
    program: WebGLProgram;
    buffer: WebGLBuffer;
    array: WebGLVertexArrayObject;
    uniform: Record<string, WebGLUniformLocation | null>;
  } | null = null;

  constructor(colours: PointColours) {
    this.colours = colours;
  }

  setColours(colours: PointColours): void {
    this.colours = colours;
    this.map?.triggerRepaint();
  }

  onAdd(map: GlMap, context: WebGLRenderingContext | WebGL2RenderingContext): void {
    const gl = context as WebGL2RenderingContext;
    this.map = map;
    const shader = (kind: number, source: string) => {
      const made = gl.createShader(kind)!;
      gl.shaderSource(made, source);
      gl.compileShader(made);
      if (!gl.getShaderParameter(made, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(made) ?? "shader");
      return made;
    };
    const program = gl.createProgram()!;
    gl.attachShader(program, shader(gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, shader(gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "program");
    const array = gl.createVertexArray()!;
    const buffer = gl.createBuffer()!;
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    for (const [name, size, offset] of [["a_move", 4, 0], ["a_time", 4, 4], ["a_look", 2, 8]] as const) {
      const at = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, gl.FLOAT, false, STRIDE * 4, offset * 4);
    }
    gl.bindVertexArray(null);
    const uniform: Record<string, WebGLUniformLocation | null> = {};
    for (const name of ["u_matrix", "u_now", "u_size", "u_bearing", "u_colours", "u_outline"]) {
      uniform[name] = gl.getUniformLocation(program, name);
    }
    this.gpu = { program, buffer, array, uniform };
    this.dirty = true;
  }

  onRemove(): void {
    this.gpu = null;
    this.map = null;
  }

  private now(): number {
    return (performance.now() - this.base) / 1000;
  }

  /** New states of some vehicles: they glide there until about the next ones come. */
  take(vehicles: readonly Vehicle[]): void {
    if (this.now() > REBASE_S) this.rebase();
    const now = this.now();
    for (const vehicle of vehicles) this.place(vehicle, now);
    this.dirty = true;
    this.map?.triggerRepaint();
  }

  private place(vehicle: Vehicle, now: number): void {
    this.reserve(vehicle.slot + 1);
    const at = vehicle.slot * STRIDE;
    const d = this.data;
    const known = d[at + 5] !== 0;
    if (vehicle.located) {
      const to = maplibregl.MercatorCoordinate.fromLngLat([vehicle.longitude, vehicle.latitude]);
      this.origin ??= [to.x, to.y];
      const [x, y] = [to.x - this.origin[0], to.y - this.origin[1]];
      const from = known ? this.between(at, now) : [x, y];
      const gap = this.gapOf(vehicle.slot, known ? now - d[at + 4]! : 0);
      const jumps = this.still.matches || Math.hypot(x - from[0]!, y - from[1]!) > JUMP;
      d[at] = jumps ? x : from[0]!;
      d[at + 1] = jumps ? y : from[1]!;
      d[at + 2] = x;
      d[at + 3] = y;
      d[at + 4] = now;
      d[at + 5] = now + gap;
      if (!jumps) this.movesUntil = Math.max(this.movesUntil, now + gap);
      d[at + 6] = known ? d[at + 7]! : vehicle.heading;
      // A standing vehicle's heading is noise.
      d[at + 7] = vehicle.speedKmh >= 1 || !known ? vehicle.heading : d[at + 7]!;
    }
    this.look(vehicle);
  }

  private gapOf(slot: number, since: number): number {
    const before = this.gaps[slot]! || 0.6;
    // A vehicle that was silent for long says nothing about its rhythm.
    const gap = since > 0.05 && since < 5 ? before + (Math.min(3, since) - before) * 0.3 : before;
    this.gaps[slot] = gap;
    return gap * 1.15;
  }

  /** States, the selection or the choice of states changed. */
  restyle(vehicles: readonly Vehicle[]): void {
    for (const vehicle of vehicles) {
      this.reserve(vehicle.slot + 1);
      this.look(vehicle);
    }
    this.dirty = true;
    this.map?.triggerRepaint();
  }

  private look(vehicle: Vehicle): void {
    const at = vehicle.slot * STRIDE;
    this.data[at + 8] = STATES.indexOf(vehicle.state);
    this.data[at + 9] =
      (vehicle.speedKmh >= 1 && vehicle.state !== "away" ? MOVING : 0) |
      (vehicle.located ? 0 : HIDDEN) |
      (this.only && !this.only.has(vehicle.state) ? DIMMED : 0) |
      (vehicle === this.selected ? SELECTED : 0);
  }

  private reserve(count: number): void {
    if (count * STRIDE > this.data.length) {
      const larger = new Float32Array(Math.max(count * STRIDE, this.data.length * 2));
      larger.set(this.data);
      this.data = larger;
      const gaps = new Float32Array(larger.length / STRIDE);
      gaps.set(this.gaps);
      this.gaps = gaps;
    }
    while (this.count < count) {
      this.data[this.count * STRIDE + 9] = HIDDEN;
      this.count++;
    }
  }

  private rebase(): void {
    const passed = this.now();
    this.base += passed * 1000;
    for (let i = 0; i < this.count; i++) {
      // Never 0, which means "not placed yet".
      if (this.data[i * STRIDE + 5] === 0) continue;
      this.data[i * STRIDE + 4]! -= passed;
      this.data[i * STRIDE + 5]! -= passed;
    }
    this.movesUntil -= passed;
  }

  private between(at: number, now: number): [number, number] {
    const d = this.data;
    const t = Math.min(1, Math.max(0, (now - d[at + 4]!) / Math.max(0.001, d[at + 5]! - d[at + 4]!)));
    return [d[at]! + (d[at + 2]! - d[at]!) * t, d[at + 1]! + (d[at + 3]! - d[at + 1]!) * t];
  }

  /** Where a vehicle is drawn now. */
  positionOf(vehicle: Vehicle): maplibregl.LngLat | null {
    if (!this.origin || !vehicle.located || vehicle.slot >= this.count) return null;
    const [x, y] = this.between(vehicle.slot * STRIDE, this.now());
    return new maplibregl.MercatorCoordinate(x + this.origin[0], y + this.origin[1]).toLngLat();
  }

  /** Point size in CSS pixels. */
  size(): number {
    const zoom = this.map?.getZoom() ?? 12;
    const steps: [number, number][] = [[9, 3.5], [12, 6], [13.5, 11], [14.5, 17], [16, 23], [18, 32]];
    for (let i = 1; i < steps.length; i++) {
      const [z0, s0] = steps[i - 1]!;
      const [z1, s1] = steps[i]!;
      if (zoom <= z1) return s0 + (s1 - s0) * Math.max(0, (zoom - z0) / (z1 - z0));
    }
    return 30;
  }

  render(context: WebGLRenderingContext | WebGL2RenderingContext, input: CustomRenderMethodInput): void {
    const gl = context as WebGL2RenderingContext;
    if (!this.gpu || !this.origin || !this.map) return;
    const { program, buffer, array, uniform } = this.gpu;
    gl.useProgram(program);
    gl.bindVertexArray(array);
    if (this.dirty) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, this.data.subarray(0, this.count * STRIDE), gl.DYNAMIC_DRAW);
      this.dirty = false;
    }
    // Positions are relative to a near origin and the matrix is moved there in doubles: floats would jump by metres.
    const m = Array.from(input.defaultProjectionData.mainMatrix as ArrayLike<number>);
    const [x, y] = this.origin;
    for (let i = 0; i < 4; i++) m[12 + i] = m[i]! * x + m[4 + i]! * y + m[12 + i]!;
    gl.uniformMatrix4fv(uniform["u_matrix"]!, false, new Float32Array(m));
    const now = this.now();
    gl.uniform1f(uniform["u_now"]!, now);
    gl.uniform1f(uniform["u_size"]!, this.size() * devicePixelRatio);
    gl.uniform1f(uniform["u_bearing"]!, this.map.getBearing());
    gl.uniform3fv(uniform["u_colours"]!, STATES.flatMap((state) => this.colours[state]));
    gl.uniform3fv(uniform["u_outline"]!, this.colours.outline);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.STENCIL_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.drawArrays(gl.POINTS, 0, this.count);
    if (this.selected && this.selected.slot < this.count) gl.drawArrays(gl.POINTS, this.selected.slot, 1);
    gl.bindVertexArray(null);
    this.framesDrawn++;
    if (now < this.movesUntil) this.map.triggerRepaint();
  }
}
