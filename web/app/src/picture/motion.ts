/** Animates circles from their previous to their target positions. */

import type { Arrangement } from '../layout/arrange';

/** Duration of the animation (ms). */
export const MOVE_MS = 700;

export class Motion {
  /** Current x, y and radius of each circle. */
  current: Float32Array = new Float32Array();
  #from: Float32Array = new Float32Array();
  #to: Float32Array = new Float32Array();
  #indexes = new Map<string, number>();
  #since = 0;
  #isMoving = false;

  get isMoving(): boolean {
    return this.#isMoving;
  }

  /** Index of the circle with `key`; -1 if there is none. */
  indexOf(key: string): number {
    return this.#indexes.get(key) ?? -1;
  }

  /** Target x, y and radius of a circle. */
  target(at: number): [number, number, number] {
    return [this.#to[at * 3] ?? 0, this.#to[at * 3 + 1] ?? 0, this.#to[at * 3 + 2] ?? 0];
  }

  /**
   * @param keys keys of the circles; known ones move to their target, new ones grow at theirs
   * @param now `null`: without animation
   */
  moveTo(keys: readonly string[], to: Arrangement['marks'], now: number | null): void {
    const from = to.slice();
    for (let at = 0; at < keys.length; at++) {
      const before = this.#indexes.get(keys[at] ?? '');
      if (before === undefined) from[at * 3 + 2] = 0;
      else from.set(this.current.subarray(before * 3, before * 3 + 3), at * 3);
    }
    this.#indexes = new Map(keys.map((key, at) => [key, at]));
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
    // A new array, so that painters detect the change by identity.
    const current = new Float32Array(to.length);
    for (let i = 0; i < to.length; i++) current[i] = (from[i] ?? 0) + ((to[i] ?? 0) - (from[i] ?? 0)) * eased;
    this.current = current;
    this.#isMoving = part < 1;
  }
}
