import { expect, test } from 'vitest';
import type { Item } from '../src/entities';
import type { Diagram } from '../src/layout/diagram';
import type { Trouble } from '../src/network/condition';
import { labelsOf } from '../src/picture/labels';

const size = { width: 800, height: 600 };

/** @param marks name, x, y and radius (px from the canvas centre) */
function named(
  marks: [string, number, number, number][],
  groups: [string, number, number, number][] = [],
  troubleOf: (group: string) => Trouble | null = () => null,
) {
  const diagram: Diagram = {
    layer: 'agents',
    groups: groups.map(([id]) => ({ id, label: id, isEntity: false, weight: 0 })),
    marks: marks.map(([label]) => {
      const item = { id: label, label } as Item;
      return { key: label, item, group: '', size: 1 };
    }),
  };
  const positions = (of: [string, number, number, number][]) => Float32Array.from(of.flatMap(([, ...place]) => place));
  const viewState = { target: [0, 0, 0] as [number, number, number], zoom: 0 };
  const widthOf = (text: string) => text.length * 6;
  return labelsOf(diagram, positions(marks), positions(groups), viewState, size, 'none', widthOf, troubleOf).map(
    ({ text }) => text,
  );
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

test('the name of a group in trouble has a sign', () => {
  const groups: [string, number, number, number][] = [
    ['Quiet', -200, 0, 50],
    ['Busy', 0, 0, 50],
    ['Broken', 200, 0, 50],
  ];
  const troubles: Record<string, Trouble> = { Busy: 'warning', Broken: 'failing' };
  expect(named([], groups, (id) => troubles[id] ?? null)).toEqual(['◆ Broken', '▲ Busy', 'Quiet']);
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
  const diagram: Diagram = { layer: 'space', groups, marks: [] };
  const viewState = { target: [0, 0, 0] as [number, number, number], zoom: 2 };
  const circles = Float32Array.of(-40, 0, 8, 40, 0, 0);
  const labels = labelsOf(
    diagram,
    new Float32Array(),
    circles,
    viewState,
    size,
    'none',
    (text) => text.length * 6,
    () => null,
  );
  expect(labels.map(({ text, placement }) => [text, placement])).toEqual([
    ['sun', 'within'],
    ['none', 'above'],
  ]);
});
