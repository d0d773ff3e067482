import { expect, test } from 'vitest';
import type { Item } from '../src/entities';
import type { Seeds } from '../src/layout/seeds';
import { labelsOf } from '../src/picture/labels';

const size = { width: 800, height: 600 };

/** @param marks name, x, y and radius (px from the canvas centre) */
function named(marks: [string, number, number, number][], groups: [string, number, number, number][] = []) {
  const seeds: Seeds = {
    layer: 'agents',
    groups: groups.map(([id]) => ({ id, label: id, isEntity: false, weight: 0 })),
    marks: marks.map(([label]) => {
      const item = { id: label, label } as Item;
      return { key: label, item, group: '', size: 1 };
    }),
  };
  const places = (of: [string, number, number, number][]) => Float32Array.from(of.flatMap(([, ...place]) => place));
  const look = { target: [0, 0, 0] as [number, number, number], zoom: 0 };
  const widthOf = (text: string) => text.length * 6;
  return labelsOf(seeds, places(marks), places(groups), look, size, 'none', widthOf).map(({ text }) => text);
}

test('visible marks above the minimum size are labelled', () => {
  expect(
    named([
      ['large', 0, 0, 30],
      ['small', 0, 100, 10],
      ['far', 2000, 0, 30],
    ]),
  ).toEqual(['large']);
});

test('labels that would overlap are truncated evenly', () => {
  const two: [string, number, number, number][] = [
    ['Helion Stack', 0, 0, 24],
    ['Harbour Light', 60, 0, 24],
  ];
  expect(named(two)).toEqual(['Helion…', 'Harbou…']);
  expect(named(two.slice(1))).toEqual(['Harbour Light']);
});

test('a label covers no mark; larger marks take precedence', () => {
  expect(
    named([
      ['hider', 0, 0, 24],
      ['hidden', 0, 40, 12],
    ]),
  ).toEqual([]);
  expect(
    named([
      ['second', 0, 0, 20],
      ['first', 30, -4, 24],
    ]),
  ).toEqual(['first']);
});

test('group labels take precedence over marks', () => {
  expect(named([['mark', 0, 0, 20]], [['group', 0, 60, 30]])).toEqual(['group']);
});

test('a planet is labelled inside, nodes without one above', () => {
  const groups = ['sun', ''].map((id) => ({ id, label: id || null, isEntity: id !== '', weight: 0 }));
  const seeds: Seeds = { layer: 'space', groups, marks: [] };
  const look = { target: [0, 0, 0] as [number, number, number], zoom: 2 };
  const circles = Float32Array.of(-40, 0, 8, 40, 0, 0);
  const labels = labelsOf(seeds, new Float32Array(), circles, look, size, 'none', (text) => text.length * 6);
  expect(labels.map(({ text, place }) => [text, place])).toEqual([
    ['sun', 'within'],
    ['none', 'above'],
  ]);
});
