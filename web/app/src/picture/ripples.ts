/**
 * Ripples: expanding rings at the entities of events. Drawn on a separate canvas, so that the map, which is slow to
 * render without a GPU, is not rendered again for each step of the animation.
 */

import { pixelIn, type ViewState } from './camera';
import { around, css, LEAST } from './drawing';
import type { Size } from './painter';
import type { Colour } from './palette';

/** Duration of a ripple (ms). */
const LIFE_MS = 1100;
/** Maximum number of simultaneous ripples; the oldest are dropped. */
const LIMIT = 250;
/** Line width (px). */
const WIDTH = 2;
/** Start and end of the distance from the entity's edge, in its radii. */
const [FROM, TO] = [0.2, 2];
/** Constant distance with reduced motion. */
const STATIC = 0.3;

export class Ripples {
  readonly #canvas = document.createElement('canvas');
  readonly #context: CanvasRenderingContext2D | null;
  #ripples: { key: string; at: number }[] = [];

  constructor(host: HTMLElement) {
    this.#canvas.className = 'ripples';
    this.#canvas.hidden = true;
    this.#context = this.#canvas.getContext('2d', { willReadFrequently: true });
    host.append(this.#canvas);
  }

  close(): void {
    this.#canvas.remove();
  }

  add(key: string, now: number): void {
    this.#ripples.push({ key, at: now });
    if (this.#ripples.length > LIMIT) this.#ripples.shift();
  }

  /**
   * @param positionOf x, y and radius of an entity; `null` if it no longer exists
   * @returns whether another frame is needed
   */
  paint(
    now: number,
    positionOf: (key: string) => ArrayLike<number> | null,
    viewState: ViewState,
    size: Size,
    colour: Colour,
    reducedMotion: boolean,
  ): boolean {
    this.#ripples = this.#ripples.filter(({ at }) => now - at < LIFE_MS);
    const isSeen = this.#ripples.length > 0;
    this.#canvas.hidden = !isSeen;
    const context = this.#context;
    if (!isSeen || !context) return isSeen;
    const [width, height] = [Math.round(size.width * devicePixelRatio), Math.round(size.height * devicePixelRatio)];
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, size.width, size.height);
    context.lineWidth = WIDTH;
    const scale = 2 ** viewState.zoom;
    for (const { key, at } of this.#ripples) {
      const [x, y, radius] = Array.from(positionOf(key) ?? []);
      if (x === undefined || y === undefined || radius === undefined) continue;
      const age = Math.max(0, (now - at) / LIFE_MS);
      const grown = reducedMotion ? STATIC : FROM + age * (TO - FROM);
      const pixel = pixelIn(viewState, size, x, y);
      context.strokeStyle = css([...colour, reducedMotion ? 255 : Math.round(255 * (1 - age) ** 1.5)]);
      context.beginPath();
      context.arc(pixel.x, pixel.y, Math.max(LEAST.ring, around(radius, grown) * scale), 0, 2 * Math.PI);
      context.stroke();
    }
    return true;
  }
}
