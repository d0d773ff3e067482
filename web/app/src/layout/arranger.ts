/** Runs small layouts synchronously and large ones in a worker; only the latest request is answered. */

import { type Arrangement, arrange } from './arrange';
import { planOf } from './plan';
import type { Seeds } from './seeds';

/** Maximum number of marks laid out synchronously, which takes about one frame. */
const AT_ONCE = 1500;

export class Arranger {
  #worker: Worker | null = null;
  #number = 0;
  #asked: Seeds | null = null;

  constructor(private readonly done: (seeds: Seeds, arrangement: Arrangement) => void) {}

  arrange(seeds: Seeds): void {
    this.#number += 1;
    const plan = planOf(seeds);
    if (seeds.marks.length <= AT_ONCE) {
      this.#asked = null;
      this.done(seeds, arrange(plan));
      return;
    }
    this.#asked = seeds;
    this.#open().postMessage({ number: this.#number, plan });
  }

  close(): void {
    this.#worker?.terminate();
    this.#worker = null;
  }

  #open(): Worker {
    if (this.#worker) return this.#worker;
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
    this.#worker.addEventListener('message', ({ data }: MessageEvent<{ number: number; arrangement: Arrangement }>) => {
      if (data.number === this.#number && this.#asked) this.done(this.#asked, data.arrangement);
    });
    return this.#worker;
  }
}
