/** A picture's state as deck.gl layers. Arrays that have not changed stay the same objects, and cost nothing. */

import type { LayersList } from '@deck.gl/core';
import { IconLayer, LineLayer, ScatterplotLayer, TextLayer } from '@deck.gl/layers';
import type { Atlas } from './atlas';
import type { Bars } from './bars';
import type { Label } from './labels';
import type { Colour, Palette, Shape } from './palette';

/** Circles in one array: x, y and radius. */
export interface Circles {
  places: Float32Array;
  fill: Uint8Array;
  line: Uint8Array;
}

export interface Marks {
  places: Float32Array;
  shapes: readonly Shape[];
  colours: Uint8Array;
}

/** A ring around something, for a while. */
export interface Ring {
  x: number;
  y: number;
  radius: number;
  colour: [number, number, number, number];
  /** Pixels. */
  width: number;
}

export interface Drawing {
  atlas: Atlas;
  palette: Palette;
  groups: Circles;
  orbits: Float32Array;
  marks: Marks;
  /** Icon height in radii of the mark. */
  markScale: number;
  bars: Bars | null;
  badges: Marks | null;
  rings: readonly Ring[];
  labels: readonly Label[];
}

const STRIDE = 12;
const BASELINES = { above: 'bottom', within: 'center', below: 'top' } as const;
/** Pixels. */
const OFFSETS = { above: -3, within: 0, below: 3 } as const;
const placed = (value: Float32Array) => ({ value, size: 2, stride: STRIDE, offset: 0 });
const radius = (value: Float32Array) => ({ value, size: 1, stride: STRIDE, offset: 8 });

/** The same input gives the same object, which tells deck.gl that there is nothing to upload. */
function remembering<A extends object, B>(make: (input: A) => B): (input: A) => B {
  const made = new WeakMap<A, B>();
  return (input) => {
    const known = made.get(input) ?? make(input);
    made.set(input, known);
    return known;
  };
}

const circleData = remembering(({ places, fill, line }: Circles) => ({
  length: places.length / 3,
  attributes: {
    getPosition: placed(places),
    getRadius: radius(places),
    getFillColor: { value: fill, size: 4, normalized: true },
    getLineColor: { value: line, size: 4, normalized: true },
  },
}));
const orbitData = remembering((places: Float32Array) => ({
  length: places.length / 3,
  attributes: { getPosition: placed(places), getRadius: radius(places) },
}));
const markData = remembering(({ places, colours }: Marks) => ({
  length: places.length / 3,
  attributes: {
    getPosition: placed(places),
    getSize: radius(places),
    getColor: { value: colours, size: 4, normalized: true },
  },
}));
const barData = remembering(({ length, from, to, width, colour }: Bars) => ({
  length,
  attributes: {
    getSourcePosition: { value: from, size: 2 },
    getTargetPosition: { value: to, size: 2 },
    getWidth: { value: width, size: 1 },
    getColor: { value: colour, size: 4, normalized: true },
  },
}));

const icons = (id: string, atlas: Atlas, marks: Marks, scale: number, least: number) =>
  new IconLayer({
    id,
    data: markData(marks) as never,
    iconAtlas: atlas.image as never,
    iconMapping: atlas.mapping,
    getIcon: ((_: unknown, { index }: { index: number }) => marks.shapes[index] ?? 'ring') as never,
    updateTriggers: { getIcon: marks.shapes },
    sizeUnits: 'common',
    sizeScale: scale,
    sizeMinPixels: least,
  });

export function draw({
  atlas,
  palette,
  groups,
  orbits,
  marks,
  markScale,
  bars,
  badges,
  rings,
  labels,
}: Drawing): LayersList {
  const [ink, muted, ground] = [palette.ink, palette.muted, palette.ground];
  return [
    new ScatterplotLayer({
      id: 'groups',
      data: circleData(groups) as never,
      stroked: true,
      lineWidthUnits: 'pixels',
      getLineWidth: 1.25,
    }),
    new ScatterplotLayer({
      id: 'orbits',
      data: orbitData(orbits) as never,
      filled: false,
      stroked: true,
      lineWidthUnits: 'pixels',
      getLineWidth: 1,
      getLineColor: palette.line,
      updateTriggers: { getLineColor: palette },
    }),
    icons('marks', atlas, marks, markScale, 2.5),
    bars && new LineLayer({ id: 'bars', data: barData(bars) as never, widthUnits: 'common' }),
    badges && icons('badges', atlas, badges, 0.42, 4),
    new ScatterplotLayer<Ring>({
      id: 'rings',
      data: rings as Ring[],
      filled: false,
      stroked: true,
      lineWidthUnits: 'pixels',
      getPosition: ({ x, y }) => [x, y],
      getRadius: ({ radius: r }) => r,
      radiusMinPixels: 4,
      getLineColor: ({ colour }) => colour,
      getLineWidth: ({ width }) => width,
    }),
    // Without a character it would make an atlas of nothing.
    labels.length > 0 &&
      new TextLayer<Label>({
        id: 'labels',
        data: labels as Label[],
        characterSet: 'auto',
        fontFamily: 'system-ui, sans-serif',
        fontWeight: 500,
        fontSettings: { fontSize: 48, buffer: 6 },
        getText: ({ text }) => text,
        getPosition: ({ position }) => position,
        getSize: ({ isGroup }) => (isGroup ? 13 : 11.5),
        getColor: ({ isGroup }): Colour => (isGroup ? ink : muted),
        getAlignmentBaseline: ({ place }) => BASELINES[place],
        getPixelOffset: ({ place }) => [0, OFFSETS[place]],
        background: true,
        getBackgroundColor: [...ground, 215] as [number, number, number, number],
        backgroundPadding: [4, 1],
        updateTriggers: { getColor: palette, getBackgroundColor: palette },
      }),
  ];
}
