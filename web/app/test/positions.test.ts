import { expect, test } from 'vitest';
import { arrange } from '../src/layout/arrange';
import { type Diagram, diagramOf } from '../src/layout/diagram';
import { layoutInputOf } from '../src/layout/input';
import { centredOn, fitAll, fitBounds, mapIn, NO_INSETS, pixelIn, zoomTo } from '../src/picture/camera';
import { Positions } from '../src/picture/positions';
import { network } from './network';

const size = { width: 800, height: 600 };

function positionsOf(layer: Diagram['layer']): Positions {
  const positions = new Positions();
  const diagram = diagramOf(network(6, 60, 12), layer);
  positions.moveTo(diagram, arrange(layoutInputOf(diagram)), null);
  return positions;
}

test.each(['city', 'space'] as const)('%s: the view state of a group fits the whole group', (layer) => {
  const positions = positionsOf(layer);
  const whole = fitAll(positions.bounds, size, NO_INSETS);
  for (const { id, isEntity } of positions.diagram?.groups ?? []) {
    if (!isEntity) continue;
    const bounds = positions.boundsOf(id);
    if (!bounds) throw new Error(`${id} has no bounds`);
    const viewState = fitBounds(bounds, size, NO_INSETS);
    expect(viewState.zoom, id).toBeGreaterThan(whole.zoom);
    const [left, , right] = bounds;
    expect((right - left) * 2 ** viewState.zoom, id).toBeGreaterThan(size.height * 0.75);
    for (const { key, group } of positions.diagram?.marks ?? []) {
      if (group !== id) continue;
      const [x, y, r] = positions.of(key) ?? [Number.NaN, Number.NaN, Number.NaN];
      const [from, to] = [pixelIn(viewState, size, x - r, y - r), pixelIn(viewState, size, x + r, y + r)];
      expect(Math.min(from.x, from.y), key).toBeGreaterThanOrEqual(0);
      expect(to.x, key).toBeLessThanOrEqual(size.width);
      expect(to.y, key).toBeLessThanOrEqual(size.height);
    }
  }
});

test('a mark has no group bounds and is shown close up', () => {
  const positions = positionsOf('agents');
  const [mark] = positions.diagram?.marks ?? [];
  const place = mark && positions.of(mark.key);
  if (!place) throw new Error('no mark');
  expect(positions.boundsOf(mark.key)).toBeNull();
  const viewState = centredOn(place, zoomTo(place), NO_INSETS);
  expect(place[2] * 2 ** viewState.zoom).toBeCloseTo(28, 0);
});

test('pixel and map coordinates convert both ways', () => {
  const viewState = { target: [7, -3, 0] as [number, number, number], zoom: 1.5 };
  const pixel = pixelIn(viewState, size, 12, 5);
  const place = mapIn(viewState, size, pixel.x, pixel.y);
  expect(place.x).toBeCloseTo(12);
  expect(place.y).toBeCloseTo(5);
});

test('picking finds a mark; unknown entities have no position', () => {
  const positions = positionsOf('city');
  const { diagram } = positions;
  const [mark] = diagram?.marks ?? [];
  if (!mark) throw new Error('no mark');
  const [x, y] = positions.of(mark.key) ?? [Number.NaN, Number.NaN];
  expect(positions.at(x, y, 0)).toBe(mark.item.id);
  expect(positions.has('agent:nobody')).toBe(false);
  expect(positions.now('agent:nobody')).toBeNull();
});
