/** Creates deck.gl layers for a drawing. Unchanged arrays keep their identity, so that deck.gl skips their upload. */

import type { LayersList } from '@deck.gl/core';
import { LineLayer, ScatterplotLayer, TextLayer } from '@deck.gl/layers';
import type { Atlas } from './atlas';
import type { Bars } from './bars';
import { BASELINES, type Circles, type Drawing, LEAST, type Marks, OFFSETS, type Ring, TEXT } from './drawing';
import type { Label } from './labels';
import { MarkLayer } from './mark-layer';
import type { Colour } from './palette';

const STRIDE = 12;
const center = (value: Float32Array) => ({ value, size: 2, stride: STRIDE, offset: 0 });
const radius = (value: Float32Array) => ({ value, size: 1, stride: STRIDE, offset: 8 });

/** Memoizes by identity, so that deck.gl skips the upload of unchanged data. */
function memoize<A extends object, B>(make: (input: A) => B): (input: A) => B {
  const made = new WeakMap<A, B>();
  return (input) => {
    const known = made.get(input) ?? make(input);
    made.set(input, known);
    return known;
  };
}

const circleData = memoize(({ positions, fill, line }: Circles) => ({
  length: positions.length / 3,
  attributes: {
    getPosition: center(positions),
    getRadius: radius(positions),
    getFillColor: { value: fill, size: 4, normalized: true },
    getLineColor: { value: line, size: 4, normalized: true },
  },
}));
const orbitData = memoize((positions: Float32Array) => ({
  length: positions.length / 3,
  attributes: { getPosition: center(positions), getRadius: radius(positions) },
}));
const barData = memoize(({ length, from, to, width, colour }: Bars) => ({
  length,
  attributes: {
    getSourcePosition: { value: from, size: 2 },
    getTargetPosition: { value: to, size: 2 },
    getWidth: { value: width, size: 1 },
    getColor: { value: colour, size: 4, normalized: true },
  },
}));

const icons = (id: string, atlas: Atlas, marks: Marks, scale: number, least: number) =>
  new MarkLayer({ id, marks, atlas, image: atlas.image, scale, least });

export function draw(
  { palette, groups, orbits, marks, markScale, bars, badges, rings, labels }: Drawing,
  atlas: Atlas,
): LayersList {
  const [ink, muted, ground] = [palette.ink, palette.muted, palette.ground];
  return [
    new ScatterplotLayer({
      id: 'groups',
      data: circleData(groups) as never,
      stroked: true,
      lineWidthUnits: 'pixels',
      getLineWidth: LEAST.groupLine,
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
    icons('marks', atlas, marks, markScale, LEAST.mark),
    bars && new LineLayer({ id: 'bars', data: barData(bars) as never, widthUnits: 'common' }),
    badges && icons('badges', atlas, badges, LEAST.badgeScale, LEAST.badge),
    new ScatterplotLayer<Ring>({
      id: 'rings',
      data: rings as Ring[],
      filled: false,
      stroked: true,
      lineWidthUnits: 'pixels',
      getPosition: ({ x, y }) => [x, y],
      getRadius: ({ radius: r }) => r,
      radiusMinPixels: LEAST.ring,
      getLineColor: ({ colour }) => colour,
      getLineWidth: ({ width }) => width,
    }),
    // An empty character set would create an empty font atlas.
    labels.length > 0 &&
      new TextLayer<Label>({
        id: 'labels',
        data: labels as Label[],
        characterSet: 'auto',
        fontFamily: TEXT.family,
        fontWeight: TEXT.weight,
        fontSettings: { fontSize: 48, buffer: 6 },
        getText: ({ text }) => text,
        getPosition: ({ position }) => position,
        getSize: ({ isGroup }) => (isGroup ? TEXT.group : TEXT.mark),
        getColor: ({ isGroup, trouble }): Colour => (trouble ? palette[trouble] : isGroup ? ink : muted),
        getAlignmentBaseline: ({ placement }) => BASELINES[placement],
        getPixelOffset: ({ placement }) => [0, OFFSETS[placement]],
        background: true,
        getBackgroundColor: [...ground, TEXT.ground] as [number, number, number, number],
        backgroundPadding: [...TEXT.padding],
        updateTriggers: { getColor: palette, getBackgroundColor: palette },
      }),
  ];
}
