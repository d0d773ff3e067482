/** Animated positions of marks and groups. */

import type { Arrangement } from '../layout/arrange';
import type { Diagram } from '../layout/diagram';
import { Motion } from './motion';
import { nearest, neighbour } from './pick';

/** Bounds of an empty map: left, top, right, bottom. */
const EMPTY: Arrangement['bounds'] = [-50, -50, 50, 50];

export class Positions {
  readonly #marks = new Motion();
  readonly #groups = new Motion();
  #diagram: Diagram | null = null;
  #arrangement: Arrangement | null = null;

  /** The diagram that these positions belong to; `null` before the first layout. */
  get diagram(): Diagram | null {
    return this.#diagram;
  }

  get isMoving(): boolean {
    return this.#marks.isMoving || this.#groups.isMoving;
  }

  /** Current x, y and radius of each mark; a new array after any movement. */
  get marks(): Float32Array {
    return this.#marks.current;
  }

  /** Current x, y and radius of each group. */
  get groups(): Float32Array {
    return this.#groups.current;
  }

  /** Orbits for the target positions. */
  get orbits(): Float32Array {
    return this.#arrangement?.rings ?? new Float32Array();
  }

  get bounds(): Arrangement['bounds'] {
    return this.#arrangement?.bounds ?? EMPTY;
  }

  /** Replaces the diagram by one with the same layout. */
  replace(diagram: Diagram): void {
    this.#diagram = diagram;
  }

  /** @param now `null`: without animation */
  moveTo(diagram: Diagram, arrangement: Arrangement, now: number | null): void {
    this.#diagram = diagram;
    this.#arrangement = arrangement;
    const marks = diagram.marks.map(({ key }) => key);
    this.#marks.moveTo(marks, arrangement.marks, now);
    const groups = diagram.groups.map(({ id }) => id);
    this.#groups.moveTo(groups, arrangement.groups, now);
  }

  step(now: number): void {
    this.#marks.step(now);
    this.#groups.step(now);
  }

  has(id: string): boolean {
    return this.#motionOf(id).indexOf(id) >= 0;
  }

  /**
   * Bounds of a group with its marks, including a planet's satellites. In a layer without such a group, those of the marks
   * that belong to the microDAO with this id; `null` if there are none.
   */
  boundsOf(id: string): Arrangement['bounds'] | null {
    const at = this.#groups.indexOf(id);
    if (!this.#diagram) return null;
    if (at < 0) return this.#boundsOfMembers(id, this.#diagram);
    const [x, y, r] = this.#groups.target(at);
    let reach = r;
    for (const [mark, { group }] of this.#diagram.marks.entries()) {
      if (group !== id) continue;
      const [markX, markY, markR] = this.#marks.target(mark);
      reach = Math.max(reach, Math.hypot(markX - x, markY - y) + markR);
    }
    return [x - reach, y - reach, x + reach, y + reach];
  }

  #boundsOfMembers(microdao: string, { marks }: Diagram): Arrangement['bounds'] | null {
    const bounds: Arrangement['bounds'] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const [mark, { item }] of marks.entries()) {
      if (item.microdaoId !== microdao) continue;
      const [x, y, r] = this.#marks.target(mark);
      bounds[0] = Math.min(bounds[0], x - r);
      bounds[1] = Math.min(bounds[1], y - r);
      bounds[2] = Math.max(bounds[2], x + r);
      bounds[3] = Math.max(bounds[3], y + r);
    }
    return bounds[0] <= bounds[2] ? bounds : null;
  }

  /** Current x, y and radius of an entity. */
  now(id: string): Float32Array | null {
    const motion = this.#motionOf(id);
    const at = motion.indexOf(id);
    return at < 0 ? null : motion.current.subarray(at * 3, at * 3 + 3);
  }

  /** Target x, y and radius of an entity. */
  of(id: string): [number, number, number] | null {
    const motion = this.#motionOf(id);
    const at = motion.indexOf(id);
    return at < 0 ? null : motion.target(at);
  }

  /** The entity at a point or within `reach` of it (map units). */
  at(x: number, y: number, reach: number): string | null {
    if (!this.#diagram) return null;
    const mark = nearest(this.marks, x, y, reach);
    if (mark >= 0) return this.#diagram.marks[mark]?.item.id ?? null;
    const group = this.#diagram.groups[nearest(this.groups, x, y, 0)];
    return group?.isEntity ? group.id : null;
  }

  /** The nearest entity in a direction; the one in the centre if `id` is `null`. */
  next(id: string | null, dx: number, dy: number): string | null {
    const from = id === null ? null : this.of(id);
    return this.#diagram?.marks[neighbour(this.marks, from, dx, dy)]?.item.id ?? null;
  }

  #motionOf(id: string): Motion {
    return this.#marks.indexOf(id) >= 0 ? this.#marks : this.#groups;
  }
}
