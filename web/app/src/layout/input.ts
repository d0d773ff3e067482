/** Converts a layer's diagram to the numeric input of the layout. */

import type { LayoutInput } from './arrange';
import type { Diagram } from './diagram';

export function layoutInputOf({ layer, groups, marks }: Diagram): LayoutInput {
  const positions = new Map(groups.map(({ id }, at) => [id, at]));
  return {
    layer,
    groups: groups.map(({ id, weight }) => ({ id, weight })),
    group: Int32Array.from(marks, ({ group }) => positions.get(group) ?? 0),
    size: Float32Array.from(marks, ({ size }) => size),
  };
}
