/** Circles on their way from where they were to where they belong. */

import type { Arrangement } from '../layout/arrange';

/** How long a move takes. Milliseconds. */
export const MOVE_MS = 700;

export class Motion {
  /** x, y and radius of each, now. */
  current: Float32Array = new Float32Array();
  #from: Float32Array = new Float32Array();
  #to: Float32Array = new Float32Array();
  #places = new Map<string, number>();
  #since = 0;
  #isMoving = false;

  get isMoving(): boolean {
    return this.#isMoving;
  }

  /** Where the thing called `key` is; -1 when there is none. */
  indexOf(key: string): number {
    return this.#places.get(key) ?? -1;
  }

  /** Where one belongs: x, y and radius. */
  target(at: number): [number, number, number] {
    return [this.#to[at * 3] ?? 0, this.#to[at * 3 + 1] ?? 0, this.#to[at * 3 + 2] ?? 0];
  }

  /**
   * @param keys names of the circles; who had the name before moves, who is new grows in its place
   * @param now `null`: no movement
   */
  moveTo(keys: readonly string[], to: Arrangement['marks'], now: number | null): void {
    const from = to.slice();
    for (let at = 0; at < keys.length; at++) {
      const before = this.#places.get(keys[at] ?? '');
      if (before === undefined) from[at * 3 + 2] = 0;
      else from.set(this.current.subarray(before * 3, before * 3 + 3), at * 3);
    }
    this.#places = new Map(keys.map((key, at) => [key, at]));
    this.#from = from;
    this.#to = to;
    this.#isMoving = now !== null;
    this.#since = now ?? 0;
    this.current = now === null ? to.slice() : from.slice();
  }

  step(now: number): void {
    if (!this.#isMoving) return;
    const part = Math.min(1, Math.max(0, (now - this.#since) / MOVE_MS));
    const eased = part < 0.5 ? 4 * part ** 3 : 1 - (2 - 2 * part) ** 3 / 2;
    const [from, to] = [this.#from, this.#to];
    // A new array: who draws it sees by its identity that it is another.
    const current = new Float32Array(to.length);
    for (let i = 0; i < to.length; i++) current[i] = (from[i] ?? 0) + ((to[i] ?? 0) - (from[i] ?? 0)) * eased;
    this.current = current;
    this.#isMoving = part < 1;
  }
}
