/** Runs small layouts synchronously and large ones in a worker; only the latest request is answered. */

import { type Arrangement, arrange } from './arrange';
import type { Diagram } from './diagram';
import { layoutInputOf } from './input';

/** Maximum number of marks laid out synchronously, which takes about one frame. */
const AT_ONCE = 1500;

export class Arranger {
  #worker: Worker | null = null;
  #number = 0;
  #asked: Diagram | null = null;

  constructor(private readonly done: (diagram: Diagram, arrangement: Arrangement) => void) {}

  arrange(diagram: Diagram): void {
    this.#number += 1;
    const input = layoutInputOf(diagram);
    if (diagram.marks.length <= AT_ONCE) {
      this.#asked = null;
      this.done(diagram, arrange(input));
      return;
    }
    this.#asked = diagram;
    this.#open().postMessage({ number: this.#number, input });
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
