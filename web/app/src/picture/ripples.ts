/** What lights up where an event happens. */

/** How long one is seen. Milliseconds. */
const LIFE_MS = 1100;
/** Seen at one time; beyond, the oldest go. */
const LIMIT = 250;

interface Ripple {
  key: string;
  at: number;
}

export class Ripples {
  #ripples: Ripple[] = [];

  add(key: string, now: number): void {
    this.#ripples.push({ key, at: now });
    if (this.#ripples.length > LIMIT) this.#ripples.shift();
  }

  /** Those still to be seen, with their age from 0 to 1. */
  alive(now: number): { key: string; age: number }[] {
    this.#ripples = this.#ripples.filter(({ at }) => now - at < LIFE_MS);
    return this.#ripples.map(({ key, at }) => ({ key, age: Math.max(0, (now - at) / LIFE_MS) }));
  }
}
