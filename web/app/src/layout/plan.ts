/** Converts a layer's diagram to the numeric input of the layout. */

import type { Plan } from './arrange';
import type { Seeds } from './seeds';

export function planOf({ layer, groups, marks }: Seeds): Plan {
  const places = new Map(groups.map(({ id }, at) => [id, at]));
  return {
    layer,
    groups: groups.map(({ id, weight }) => ({ id, weight })),
    group: Int32Array.from(marks, ({ group }) => places.get(group) ?? 0),
    size: Float32Array.from(marks, ({ size }) => size),
  };
}
