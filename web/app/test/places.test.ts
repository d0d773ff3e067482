import { expect, test } from 'vitest';
import { arrange } from '../src/layout/arrange';
import { planOf } from '../src/layout/plan';
import { type Seeds, seedsOf } from '../src/layout/seeds';
import { allOf, closeTo, mapIn, pixelIn, wholeOf } from '../src/picture/camera';
import { Places } from '../src/picture/places';
import { network } from './network';

const size = { width: 800, height: 600 };

function placesOf(layer: Seeds['layer']): Places {
  const places = new Places();
  const seeds = seedsOf(network(6, 60, 12), layer);
  places.moveTo(seeds, arrange(planOf(seeds)), null);
  return places;
}

test.each(['city', 'space'] as const)(
  '%s: the view state of a group fits the whole group',
  (layer) => {
    const places = placesOf(layer);
    const whole = wholeOf(places.bounds, size);
    for (const { id, isEntity } of places.seeds?.groups ?? []) {
      if (!isEntity) continue;
      const bounds = places.boundsOf(id);
      if (!bounds) throw new Error(`${id} has no bounds`);
      const look = allOf(bounds, size);
      expect(look.zoom, id).toBeGreaterThan(whole.zoom);
      const [left, , right] = bounds;
      expect((right - left) * 2 ** look.zoom, id).toBeGreaterThan(size.height * 0.75);
      for (const { key, group } of places.seeds?.marks ?? []) {
        if (group !== id) continue;
        const [x, y, r] = places.of(key) ?? [Number.NaN, Number.NaN, Number.NaN];
        const [from, to] = [pixelIn(look, size, x - r, y - r), pixelIn(look, size, x + r, y + r)];
        expect(Math.min(from.x, from.y), key).toBeGreaterThanOrEqual(0);
        expect(to.x, key).toBeLessThanOrEqual(size.width);
        expect(to.y, key).toBeLessThanOrEqual(size.height);
      }
    }
  },
);

test('a mark has no group bounds and is shown close up', () => {
  const places = placesOf('agents');
  const [mark] = places.seeds?.marks ?? [];
  const place = mark && places.of(mark.key);
  if (!place) throw new Error('no mark');
  expect(places.boundsOf(mark.key)).toBeNull();
  const look = closeTo(place);
  expect(place[2] * 2 ** look.zoom).toBeCloseTo(46, 0);
});

test('pixel and map coordinates convert both ways', () => {
  const look = { target: [7, -3, 0] as [number, number, number], zoom: 1.5 };
  const pixel = pixelIn(look, size, 12, 5);
  const place = mapIn(look, size, pixel.x, pixel.y);
  expect(place.x).toBeCloseTo(12);
  expect(place.y).toBeCloseTo(5);
});

test('picking finds a mark; unknown entities have no position', () => {
  const places = placesOf('city');
  const { seeds } = places;
  const [mark] = seeds?.marks ?? [];
  if (!mark) throw new Error('no mark');
  const [x, y] = places.of(mark.key) ?? [Number.NaN, Number.NaN];
  expect(places.at(x, y, 0)).toBe(mark.item.id);
  expect(places.has('agent:nobody')).toBe(false);
  expect(places.now('agent:nobody')).toBeNull();
});
