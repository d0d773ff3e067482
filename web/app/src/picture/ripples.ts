/**
 * What lights up where an event happens. On a canvas of its own above the picture: hundreds of rings that grow are drawn in
 * no time, and the picture under them, which without a GPU takes long, is not drawn again for them.
 */

import { type Look, pixelIn } from './camera';
import { around, css, LEAST } from './drawing';
import type { Size } from './painter';
import type { Colour } from './palette';

/** How long one is seen. Milliseconds. */
const LIFE_MS = 1100;
/** Seen at one time; beyond, the oldest go. */
const LIMIT = 250;
/** Pixels. */
const WIDTH = 2;
/** How far it goes, in radii of what it is about. */
const [FROM, TO] = [0.2, 2];
/** The same where nothing is to move, from its beginning to its end. */
const CALM = 0.3;

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
   * @param placeOf x, y and radius of a thing on the map; `null`: it is gone
   * @returns whether there will be another to draw
   */
  paint(
    now: number,
    placeOf: (key: string) => ArrayLike<number> | null,
    look: Look,
    size: Size,
    colour: Colour,
    isCalm: boolean,
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
    const scale = 2 ** look.zoom;
    for (const { key, at } of this.#ripples) {
      const [x, y, radius] = Array.from(placeOf(key) ?? []);
      if (x === undefined || y === undefined || radius === undefined) continue;
      const age = Math.max(0, (now - at) / LIFE_MS);
      const grown = isCalm ? CALM : FROM + age * (TO - FROM);
      const pixel = pixelIn(look, size, x, y);
      context.strokeStyle = css([...colour, isCalm ? 255 : Math.round(255 * (1 - age) ** 1.5)]);
      context.beginPath();
      context.arc(pixel.x, pixel.y, Math.max(LEAST.ring, around(radius, grown) * scale), 0, 2 * Math.PI);
      context.stroke();
    }
    return true;
  }
}
