/** Camera: view state and animated transitions. */

import type { Arrangement } from '../layout/arrange';
import { type CameraView, roundedCamera } from '../view';
import type { Size } from './painter';

export interface ViewState {
  target: [number, number, number];
  /** log2 of the pixels per map unit. */
  zoom: number;
}

/** Duration of a transition (ms). */
const FLIGHT_MS = 650;
export const MIN_ZOOM = -4;
export const MAX_ZOOM = 6.5;

export class Camera {
  viewState: ViewState = { target: [0, 0, 0], zoom: 0 };
  /** Whether the user has not moved the camera, so that it keeps fitting the whole map. */
  isFree = true;
  #flight: { from: ViewState; to: ViewState; since: number } | null = null;

  get isFlying(): boolean {
    return this.#flight !== null;
  }

  /** @param now `null`: without animation */
  flyTo(to: ViewState, now: number | null): void {
    const target = { ...to, zoom: clamp(to.zoom) };
    if (now === null) this.set(target);
    else this.#flight = { from: this.viewState, to: target, since: now };
  }

  set(viewState: ViewState): void {
    this.#flight = null;
    this.viewState = viewState;
  }

  step(now: number): void {
    if (!this.#flight) return;
    const { from, to, since } = this.#flight;
    const part = Math.min(1, Math.max(0, (now - since) / FLIGHT_MS));
    const eased = 1 - (1 - part) ** 3;
    const between = (a: number, b: number) => a + (b - a) * eased;
    this.viewState = {
      target: [between(from.target[0], to.target[0]), between(from.target[1], to.target[1]), 0],
      zoom: between(from.zoom, to.zoom),
    };
    if (part >= 1) this.#flight = null;
  }
}

/** Converts map units to canvas pixels. */
export function pixelIn({ target, zoom }: ViewState, size: Size, x: number, y: number): { x: number; y: number } {
  const scale = 2 ** zoom;
  return { x: (x - target[0]) * scale + size.width / 2, y: (y - target[1]) * scale + size.height / 2 };
}

/** Converts canvas pixels to map units. */
export function mapIn({ target, zoom }: ViewState, size: Size, x: number, y: number): { x: number; y: number } {
  const scale = 2 ** zoom;
  return { x: target[0] + (x - size.width / 2) / scale, y: target[1] + (y - size.height / 2) / scale };
}

const clamp = (zoom: number) => Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, zoom));

/** Space covered by panels at each side (px). */
export interface Insets {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export const NO_INSETS: Insets = { left: 0, top: 0, right: 0, bottom: 0 };

/** Margin around a map that fills the free space; labels stand above it (px). */
const MARGIN = 30;
/** Maximum zoom when fitting the whole map, so that a small map does not fill the canvas. */
const WHOLE_MAX = 5.1;

type Bounds = Arrangement['bounds'];

/** View state that fits the whole map with `bounds` into a canvas of `size`. */
export const fitAll = (bounds: Bounds, size: Size, insets: Insets): ViewState =>
  fitBounds(bounds, size, insets, WHOLE_MAX);

/** View state that fits `bounds` into the space free of panels, zoomed in to at most `most`. */
export function fitBounds(bounds: Bounds, size: Size, insets: Insets, most = MAX_ZOOM): ViewState {
  const [left, top, right, bottom] = bounds;
  const free = { width: size.width - insets.left - insets.right, height: size.height - insets.top - insets.bottom };
  const across = Math.max(60, free.width - 2 * MARGIN) / Math.max(1, right - left);
  const down = Math.max(60, free.height - 2 * MARGIN) / Math.max(1, bottom - top);
  const zoom = clamp(Math.min(most, Math.log2(Math.min(across, down))));
  return centredOn([(left + right) / 2, (top + bottom) / 2], zoom, insets);
}

/** View state with a point in the middle of the space free of panels. */
export function centredOn(
  [x = 0, y = 0]: ArrayLike<number> & Iterable<number>,
  zoom: number,
  { left, top, right, bottom }: Insets,
): ViewState {
  const scale = 2 ** clamp(zoom);
  return { target: [x + (right - left) / 2 / scale, y + (bottom - top) / 2 / scale, 0], zoom };
}

/** What a camera shows, independent of the size of the canvas and of the panels over it. */
export function cameraViewOf({ target, zoom }: ViewState, { left, top, right, bottom }: Insets): CameraView {
  const scale = 2 ** zoom;
  return roundedCamera({ x: target[0] - (right - left) / 2 / scale, y: target[1] - (bottom - top) / 2 / scale, zoom });
}

/** Radius of a mark that the camera has moved to (px). */
const CLOSE = 28;

/** Zoom at which one circle is shown closely. */
export const zoomTo = ([, , r = 1]: ArrayLike<number> & Iterable<number>): number =>
  Math.log2(CLOSE / Math.max(r, 0.5));
