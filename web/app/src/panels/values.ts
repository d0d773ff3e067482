/** Numbers of an entity over time, from a recording. */

import { type Entity, findEntity, type Layers, type Snapshot } from '@living-map/react';
import type { Recording } from '../replay/recording';
import { fieldsOf } from './facts';

export interface Point {
  /** Time (ms). */
  readonly time: number;
  readonly value: number;
}

/** A number of an entity; each value holds until the next point. */
export interface Series {
  readonly field: string;
  readonly points: readonly Point[];
}

export const entityIn = (layers: Layers, id: string): Entity | null => findEntity({ layers } as Snapshot, id);

/** Numbers that changed in a recording, the one that changed most first. */
export function seriesOf(recording: Recording, id: string): Series[] {
  const { begin, end } = recording;
  const found = new Map<string, Point[]>();
  let before: Entity | null = null;
  for (let ordinal = begin.ordinal; ordinal <= end.ordinal; ordinal++) {
    const entity = entityIn(recording.layersAt(ordinal), id);
    if (entity === before || entity === null) continue;
    before = entity;
    const time = recording.timeAt(ordinal);
    for (const [field, value] of fieldsOf(entity)) {
      if (typeof value !== 'number') continue;
      const points = found.get(field) ?? [];
      if (points.at(-1)?.value !== value) points.push({ time, value });
      found.set(field, points);
    }
  }
  return [...found]
    .filter(([, points]) => points.length > 1)
    .map(([field, points]) => ({ field, points }))
    .sort((a, b) => spread(b) - spread(a));
}

/** Range of the values, as a part of the largest. */
function spread({ points }: Series): number {
  const values = points.map(({ value }) => value);
  const most = Math.max(...values.map(Math.abs));
  return most === 0 ? 0 : (Math.max(...values) - Math.min(...values)) / most;
}
