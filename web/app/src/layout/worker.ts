/** Worker that computes large layouts off the main thread. */

import { arrange, type LayoutInput } from './arrange';

interface Request {
  number: number;
  input: LayoutInput;
}

globalThis.addEventListener('message', ({ data }: MessageEvent<Request>) => {
  const arrangement = arrange(data.input);
  const { marks, groups, rings } = arrangement;
  const transfer = [marks.buffer, groups.buffer, rings.buffer] as ArrayBuffer[];
  (globalThis as unknown as Worker).postMessage({ number: data.number, arrangement }, transfer);
});
