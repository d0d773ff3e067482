/** Combines positions, styles and labels into a drawing; unchanged parts keep their identity. */

import type { Layers } from '@living-map/react';
import type { Filter } from '../filter';
import type { Diagram } from '../layout/diagram';
import { barsOf } from './bars';
import type { ViewState } from './camera';
import { around, type Circles, type Drawing, type Marks, type Ring } from './drawing';
import { type Label, labelsOf, textMeasure } from './labels';
import type { Size } from './painter';
import { type Palette, shapeOf } from './palette';
import type { Positions } from './positions';
import { type Conditions, reuseEqualStyle, type Style, styleOf } from './style';

/** Content to draw, apart from positions. */
export interface Subject {
  layers: Layers | null;
  conditions: Conditions;
  palette: Palette;
  filter: Filter;
  selected: string | null;
  hovered: string | null;
  /** Label of the group of marks without a group. */
  noneLabel: string;
}

type StaticParts = Omit<Drawing, 'palette' | 'labels' | 'rings'>;

export class Composer {
  readonly #widthOf = textMeasure();
  #style: Style | null = null;
  /** Inputs of the last style. */
  #styleInputs: readonly unknown[] = [];
  #staticParts: StaticParts | null = null;
  /** Last lists with their serialized form, to detect changes. */
  readonly #labels: Cached<Label> = { list: [], text: '' };
  readonly #rings: Cached<Ring> = { list: [], text: '' };

  /** @param diagram the diagram that `positions` belongs to */
  compose(diagram: Diagram, positions: Positions, subject: Subject, viewState: ViewState, size: Size): Drawing {
    const labels = labelsOf(
      diagram,
      positions.marks,
      positions.groups,
      viewState,
      size,
      subject.noneLabel,
      this.#widthOf,
      subject.conditions.troubleIn,
    );
    const parts = this.#staticPartsOf(diagram, positions, subject);
    return {
      ...parts,
      palette: subject.palette,
      labels: reuseEqualList(this.#labels, labels),
      rings: reuseEqualList(this.#rings, ringsOf(diagram, positions, subject, this.#style)),
    };
  }

  /** The parts that stay the same between frames while nothing moves. */
  #staticPartsOf(diagram: Diagram, positions: Positions, subject: Subject): StaticParts {
    const { layers, conditions, palette, filter } = subject;
    const styled = [diagram, layers, conditions, palette, filter];
    const isStyled = styled.every((part, at) => part === this.#styleInputs[at]);
    const before = this.#style;
    const style = before && isStyled ? before : reuseEqualStyle(before, styleOf(diagram, conditions, palette, filter));
    this.#style = style;
    this.#styleInputs = styled;
    // Few events change a style, but metrics, shown as bars, change with almost every update.
    const hasBars = !isStyled && diagram.layer === 'nodes';
    const still = this.#staticParts;
    const isSame =
      still?.marks.positions === positions.marks && still.groups.positions === positions.groups && style === before;
    if (isSame && !hasBars) return still;
    this.#staticParts = staticPartsOf(diagram, positions, subject, style);
    return this.#staticParts;
  }
}

function staticPartsOf(
  { layer, marks: items }: Diagram,
  positions: Positions,
  { layers, conditions, palette }: Subject,
  style: Style,
): StaticParts {
  const marks: Marks = { positions: positions.marks, shapes: style.shapes, colours: style.colours };
  const groups: Circles = { positions: positions.groups, fill: style.fill, line: style.line };
  const orbits = positions.isMoving ? new Float32Array() : positions.orbits;
  const still = { groups, orbits, marks, markScale: 2, bars: null, badges: null };
  if (layer !== 'nodes') return still;
  const nodes = layers?.nodes?.items ?? [];
  // The map may be newer than the positions while a layout is being computed.
  const isPlaced = nodes.length === items.length && nodes.every(({ id }, at) => items[at]?.item.id === id);
  const alpha = (at: number) => style.colours[at * 4 + 3] ?? 255;
  const corners = positions.marks.slice();
  for (let at = 0; at < corners.length; at += 3) {
    const r = corners[at + 2] ?? 0;
    corners[at] = (corners[at] ?? 0) + r * 0.5;
    corners[at + 1] = (corners[at + 1] ?? 0) - r * 0.5;
  }
  return {
    ...still,
    markScale: Math.SQRT2,
    bars: isPlaced ? barsOf(nodes, positions.marks, palette, alpha) : null,
    badges: {
      positions: corners,
      shapes: items.map(({ item }) => shapeOf(conditions.conditionOf(item.id))),
      colours: style.badge,
    },
  };
}

/** Rings around what is in trouble, agents with a current run, and the hovered and the selected entity. */
function ringsOf(
  { layer, groups }: Diagram,
  positions: Positions,
  { layers, palette, hovered, selected }: Subject,
  style: Style | null,
): Ring[] {
  const rings: Ring[] = [];
  const add = (id: string, grown: number, colour: Ring['colour'], width: number) => {
    const [x, y, r] = Array.from(positions.now(id) ?? []);
    if (x === undefined || y === undefined || r === undefined) return;
    rings.push({ x, y, radius: around(r, grown), colour, width });
  };
  const districts = new Set(groups.map(({ id }) => id));
  for (const [at, key] of style?.troubled.entries() ?? []) {
    const colour: Ring['colour'] = [...palette[style?.troubles[at] ?? 'warning'], 255];
    // That of a district is its edge: outside of it stands its name.
    if (districts.has(key)) add(key, 0, colour, 4);
    else add(key, 0.5, colour, 2.5);
  }
  if (layer === 'agents' || layer === 'city') {
    for (const { id, current_run } of layers?.agents?.items ?? []) {
      if (current_run) add(id, 0.3, [...palette.accent, 255], 1.5);
    }
  }
  if (hovered !== null) add(hovered, 0.15, [...palette.ink, 150], 1.5);
  if (selected !== null) add(selected, 0.3, [...palette.ink, 255], 2.5);
  return rings;
}

interface Cached<Item> {
  list: Item[];
  text: string;
}

/** Returns the previous list if `list` is equal, so that it is not uploaded again. */
function reuseEqualList<Item>(cached: Cached<Item>, list: Item[]): Item[] {
  const text = JSON.stringify(list);
  if (text !== cached.text) Object.assign(cached, { list, text });
  return cached.list;
}
