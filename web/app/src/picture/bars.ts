/** Bars on a node's tile: CPU, GPU, memory and temperature. */

import type { NodeItem } from '@living-map/react';
import { loadTone, type Palette } from './palette';

/** Number of bars per tile. */
const BARS = 4;
/** Lines per tile: each bar and its background. */
const LINES = BARS * 2;
/** Temperature of a full bar (°C). */
const HOT = 100;

export interface Bars {
  length: number;
  from: Float32Array;
  to: Float32Array;
  width: Float32Array;
  colour: Uint8Array;
}

const levels = ({ cpu, gpu, ram, temperature }: NodeItem['metrics']) => [
  cpu,
  gpu,
  ram,
  temperature === null ? null : temperature / HOT,
];

/**
 * @param positions x, y and radius of each node's mark
 * @param alpha opacity of each node, 0 to 255
 */
export function barsOf(
  nodes: readonly NodeItem[],
  positions: Float32Array,
  palette: Palette,
  alpha: (at: number) => number,
): Bars {
  const length = nodes.length * LINES;
  const bars: Bars = {
    length,
    from: new Float32Array(length * 2),
    to: new Float32Array(length * 2),
    width: new Float32Array(length),
    colour: new Uint8Array(length * 4),
  };
  let line = 0;
  const add = (x: number, bottom: number, height: number, width: number, colour: readonly number[], seen: number) => {
    bars.from.set([x, bottom], line * 2);
    bars.to.set([x, bottom - height], line * 2);
    bars.width[line] = width;
    bars.colour.set([...colour, seen], line * 4);
    line += 1;
  };
  for (const [at, { metrics }] of nodes.entries()) {
    const [x = 0, y = 0, r = 0] = positions.subarray(at * 3, at * 3 + 3);
    const half = r * Math.SQRT1_2;
    const height = half * 1.05;
    const bottom = y + half * 0.68;
    for (const [bar, level] of levels(metrics).entries()) {
      const left = x + half * (-0.6 + bar * 0.4);
      const full = Math.min(1, Math.max(0, level ?? 0));
      add(left, bottom, height, half * 0.26, palette.line, alpha(at));
      add(left, bottom, height * full, half * 0.26, palette[loadTone(full)], level === null ? 0 : alpha(at));
    }
  }
  return bars;
}
