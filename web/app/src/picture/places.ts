/** Where everything in the picture is: marks and groups, on their way to where they belong. */

import type { Arrangement } from '../layout/arrange';
import type { Seeds } from '../layout/seeds';
import { Motion } from './motion';
import { nearest, neighbour } from './pick';

/** A map without anything on it. Left, top, right, bottom. */
const EMPTY: Arrangement['bounds'] = [-50, -50, 50, 50];

export class Places {
  readonly #marks = new Motion();
  readonly #groups = new Motion();
  #seeds: Seeds | null = null;
  #arrangement: Arrangement | null = null;

  /** What has these places; `null` before the first layout. */
  get seeds(): Seeds | null {
    return this.#seeds;
  }

  get isMoving(): boolean {
    return this.#marks.isMoving || this.#groups.isMoving;
  }

  /** x, y and radius of each mark now; another array when any of them has moved. */
  get marks(): Float32Array {
    return this.#marks.current;
  }

  /** The same of the groups. */
  get groups(): Float32Array {
    return this.#groups.current;
  }

  /** Orbits, for things that are where they belong. */
  get orbits(): Float32Array {
    return this.#arrangement?.rings ?? new Float32Array();
  }

  get bounds(): Arrangement['bounds'] {
    return this.#arrangement?.bounds ?? EMPTY;
  }

  /** Other items in the same places. */
  replace(seeds: Seeds): void {
    this.#seeds = seeds;
  }

  /** @param now `null`: no movement */
  moveTo(seeds: Seeds, arrangement: Arrangement, now: number | null): void {
    this.#seeds = seeds;
    this.#arrangement = arrangement;
    const marks = seeds.marks.map(({ key }) => key);
    this.#marks.moveTo(marks, arrangement.marks, now);
    const groups = seeds.groups.map(({ id }) => id);
    this.#groups.moveTo(groups, arrangement.groups, now);
  }

  step(now: number): void {
    this.#marks.step(now);
    this.#groups.step(now);
  }

  has(id: string): boolean {
    return this.#motionOf(id).indexOf(id) >= 0;
  }

  /** The bounds of a group with all its marks, a planet's nodes around it too; `null`: it is none. */
  boundsOf(id: string): Arrangement['bounds'] | null {
    const at = this.#groups.indexOf(id);
    if (at < 0 || !this.#seeds) return null;
    const [x, y, r] = this.#groups.target(at);
    let reach = r;
    for (const [mark, { group }] of this.#seeds.marks.entries()) {
      if (group !== id) continue;
      const [markX, markY, markR] = this.#marks.target(mark);
      reach = Math.max(reach, Math.hypot(markX - x, markY - y) + markR);
    }
    return [x - reach, y - reach, x + reach, y + reach];
  }

  /** Where an entity is now: x, y and radius. */
  now(id: string): Float32Array | null {
    const motion = this.#motionOf(id);
    const at = motion.indexOf(id);
    return at < 0 ? null : motion.current.subarray(at * 3, at * 3 + 3);
  }

  /** Where it belongs. */
  of(id: string): [number, number, number] | null {
    const motion = this.#motionOf(id);
    const at = motion.indexOf(id);
    return at < 0 ? null : motion.target(at);
  }

  /** The entity at a point of the map, or within `reach` of it. */
  at(x: number, y: number, reach: number): string | null {
    if (!this.#seeds) return null;
    const mark = nearest(this.marks, x, y, reach);
    if (mark >= 0) return this.#seeds.marks[mark]?.item.id ?? null;
    const group = this.#seeds.groups[nearest(this.groups, x, y, 0)];
    return group?.isEntity ? group.id : null;
  }

  /** The entity next to another in a direction; the middle one next to none. */
  next(id: string | null, dx: number, dy: number): string | null {
    const from = id === null ? null : this.of(id);
    return this.#seeds?.marks[neighbour(this.marks, from, dx, dy)]?.item.id ?? null;
  }

  #motionOf(id: string): Motion {
    return this.#marks.indexOf(id) >= 0 ? this.#marks : this.#groups;
  }
}
