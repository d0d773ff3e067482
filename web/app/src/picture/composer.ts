/** Combines positions, styles and labels into a drawing; unchanged parts keep their identity. */

import type { Layers } from '@living-map/react';
import type { Filter } from '../filter';
import type { Seeds } from '../layout/seeds';
import { barsOf } from './bars';
import type { Look } from './camera';
import { around, type Circles, type Drawing, type Marks, type Ring } from './drawing';
import { type Label, labelsOf, textMeasure } from './labels';
import type { Size } from './painter';
import { type Palette, shapeOf } from './palette';
import type { Places } from './places';
import { type Style, sameLook, styleOf } from './style';

/** Content to draw, apart from positions. */
export interface Subject {
  layers: Layers | null;
  palette: Palette;
  filter: Filter;
  selected: string | null;
  hovered: string | null;
  /** Label of the group of marks without a group. */
  noneLabel: string;
}

type Still = Omit<Drawing, 'palette' | 'labels' | 'rings'>;

export class Composer {
  readonly #widthOf = textMeasure();
  #style: Style | null = null;
  /** Inputs of the last style. */
  #styled: readonly unknown[] = [];
  #still: Still | null = null;
  /** Last lists with their serialized form, to detect changes. */
  readonly #labels: Kept<Label> = { list: [], text: '' };
  readonly #rings: Kept<Ring> = { list: [], text: '' };

  /** @param seeds the diagram that `places` belongs to */
  compose(seeds: Seeds, places: Places, subject: Subject, look: Look, size: Size): Drawing {
    const labels = labelsOf(seeds, places.marks, places.groups, look, size, subject.noneLabel, this.#widthOf);
    return {
      ...this.#stillOf(seeds, places, subject),
      palette: subject.palette,
      labels: keep(this.#labels, labels),
      rings: keep(this.#rings, ringsOf(seeds, places, subject)),
    };
  }

  /** The parts that stay the same between frames while nothing moves. */
  #stillOf(seeds: Seeds, places: Places, subject: Subject): Still {
    const { layers, palette, filter } = subject;
    const styled = [seeds, layers, palette, filter];
    const isStyled = styled.every((part, at) => part === this.#styled[at]);
    const before = this.#style;
    const style = before && isStyled ? before : sameLook(before, styleOf(seeds, layers, palette, filter));
    this.#style = style;
    this.#styled = styled;
    // Few events change a style, but metrics, shown as bars, change with almost every update.
    const hasBars = !isStyled && seeds.layer === 'nodes';
    const still = this.#still;
    const isSame = still?.marks.places === places.marks && still.groups.places === places.groups && style === before;
    if (isSame && !hasBars) return still;
    this.#still = stillOf(seeds, places, subject, style);
    return this.#still;
  }
}

function stillOf({ layer, marks: seeds }: Seeds, places: Places, { layers, palette }: Subject, style: Style): Still {
  const marks: Marks = { places: places.marks, shapes: style.shapes, colours: style.colours };
  const groups: Circles = { places: places.groups, fill: style.fill, line: style.line };
  const orbits = places.isMoving ? new Float32Array() : places.orbits;
  const still = { groups, orbits, marks, markScale: 2, bars: null, badges: null };
  if (layer !== 'nodes') return still;
  const nodes = layers?.nodes?.items ?? [];
  // The map may be newer than the positions while a layout is being computed.
  const isPlaced = nodes.length === seeds.length && nodes.every(({ id }, at) => seeds[at]?.item.id === id);
  const alpha = (at: number) => style.colours[at * 4 + 3] ?? 255;
  const corners = places.marks.slice();
  for (let at = 0; at < corners.length; at += 3) {
    const r = corners[at + 2] ?? 0;
    corners[at] = (corners[at] ?? 0) + r * 0.5;
    corners[at + 1] = (corners[at + 1] ?? 0) - r * 0.5;
  }
  return {
    ...still,
    markScale: Math.SQRT2,
    bars: isPlaced ? barsOf(nodes, places.marks, palette, alpha) : null,
    badges: { places: corners, shapes: seeds.map(({ item }) => shapeOf(item.status)), colours: style.badge },
  };
}

/** Rings around agents with a current run, and around the hovered and the selected entity. */
function ringsOf({ layer }: Seeds, places: Places, { layers, palette, hovered, selected }: Subject): Ring[] {
  const rings: Ring[] = [];
  const add = (id: string, grown: number, colour: Ring['colour'], width: number) => {
    const [x, y, r] = Array.from(places.now(id) ?? []);
    if (x === undefined || y === undefined || r === undefined) return;
    rings.push({ x, y, radius: around(r, grown), colour, width });
  };
  if (layer === 'agents' || layer === 'city') {
    for (const { id, current_run } of layers?.agents?.items ?? []) {
      if (current_run) add(id, 0.3, [...palette.accent, 255], 1.5);
    }
  }
  if (hovered !== null) add(hovered, 0.15, [...palette.ink, 150], 1.5);
  if (selected !== null) add(selected, 0.3, [...palette.ink, 255], 2.5);
  return rings;
}

interface Kept<Thing> {
  list: Thing[];
  text: string;
}

/** Returns the previous list if `list` is equal, so that it is not uploaded again. */
function keep<Thing>(kept: Kept<Thing>, list: Thing[]): Thing[] {
  const text = JSON.stringify(list);
  if (text !== kept.text) Object.assign(kept, { list, text });
  return kept.list;
}
