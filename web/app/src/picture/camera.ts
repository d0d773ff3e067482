/** Where the picture is looked at from, and flights to elsewhere. */

import type { Arrangement } from '../layout/arrange';
import type { Size } from './painter';

export interface Look {
  target: [number, number, number];
  /** Pixels of a map unit, as a power of two. */
  zoom: number;
}

/** Milliseconds. */
const FLIGHT_MS = 650;
export const MIN_ZOOM = -4;
export const MAX_ZOOM = 6.5;

export class Camera {
  look: Look = { target: [0, 0, 0], zoom: 0 };
  /** Whether nobody has moved it: then it goes on to show the whole. */
  isFree = true;
  #flight: { from: Look; to: Look; since: number } | null = null;

  get isFlying(): boolean {
    return this.#flight !== null;
  }

  /** @param now `null`: at once */
  flyTo(to: Look, now: number | null): void {
    const target = { ...to, zoom: clamp(to.zoom) };
    if (now === null) this.set(target);
    else this.#flight = { from: this.look, to: target, since: now };
  }

  set(look: Look): void {
    this.#flight = null;
    this.look = look;
  }

  step(now: number): void {
    if (!this.#flight) return;
    const { from, to, since } = this.#flight;
    const part = Math.min(1, Math.max(0, (now - since) / FLIGHT_MS));
    const eased = 1 - (1 - part) ** 3;
    const between = (a: number, b: number) => a + (b - a) * eased;
    this.look = {
      target: [between(from.target[0], to.target[0]), between(from.target[1], to.target[1]), 0],
      zoom: between(from.zoom, to.zoom),
    };
    if (part >= 1) this.#flight = null;
  }
}

/** Where a place on the map is in a picture of `size`. Pixels. */
export function pixelIn({ target, zoom }: Look, size: Size, x: number, y: number): { x: number; y: number } {
  const scale = 2 ** zoom;
  return { x: (x - target[0]) * scale + size.width / 2, y: (y - target[1]) * scale + size.height / 2 };
}

/** Which place on the map is at a pixel of the picture. */
export function mapIn({ target, zoom }: Look, size: Size, x: number, y: number): { x: number; y: number } {
  const scale = 2 ** zoom;
  return { x: target[0] + (x - size.width / 2) / scale, y: target[1] + (y - size.height / 2) / scale };
}

const clamp = (zoom: number) => Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, zoom));

/** Kept free for what lies over the picture: names above, the legend below. Pixels. */
const MARGIN = { side: 24, top: 30, bottom: 66 };
/** A map of few things need not fill the whole picture. */
const WHOLE_MAX = 4.2;

type Bounds = Arrangement['bounds'];

/** The look at the whole map, which lies within `bounds`, in a picture of `size`. */
export const wholeOf = (bounds: Bounds, size: Size): Look => allOf(bounds, size, WHOLE_MAX);

/** The look at all that lies within `bounds`, as near as `most` allows. */
export function allOf(bounds: Bounds, { width, height }: Size, most = MAX_ZOOM): Look {
  const [left, top, right, bottom] = bounds;
  const across = Math.max(60, width - 2 * MARGIN.side) / Math.max(1, right - left);
  const down = Math.max(60, height - MARGIN.top - MARGIN.bottom) / Math.max(1, bottom - top);
  const zoom = clamp(Math.min(most, Math.log2(Math.min(across, down))));
  const lower = (MARGIN.bottom - MARGIN.top) / 2 / 2 ** zoom;
  return { target: [(left + right) / 2, (top + bottom) / 2 + lower, 0], zoom };
}

/** One of many is looked at so that its circle has about this radius. Pixels. */
const CLOSE = 46;

/** The look at one circle. */
export const closeTo = ([x, y, r]: readonly [number, number, number]): Look => ({
  target: [x, y, 0],
  zoom: Math.log2(CLOSE / Math.max(r, 0.5)),
});
