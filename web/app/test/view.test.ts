import { describe, expect, test } from 'vitest';
import { isFiltering, matches, NO_FILTER } from '../src/filter';
import { layerFor, typeOf } from '../src/open-entity';
import { matchesEvent } from '../src/panels/feed-filter';
import { fromLocal, toLocal } from '../src/panels/local-time';
import { changedView, formatView, parseView, type View } from '../src/view';

describe('the URL', () => {
  test.each([
    '',
    '?layer=space',
    '?layer=nodes&entity=node:01&at=2026-01-19T12:00:00Z',
    '?panel=health&view=table&status=failing,warning&kind=scout&microdao=microdao:1',
    '?entity=agent:%D0%B7%D0%BE%D1%80%D1%8F',
    '?camera=12.5,-3,1.25',
    '?panel=lessons&events=run%3F&changing=1&list=active',
  ])('%s says the same there and back', (search) => {
    expect(formatView(parseView(search))).toBe(search);
  });

  test('statuses of links of earlier releases are understood', () => {
    const conditions = (status: string) => parseView(`?status=${status}`).filter.conditions;
    expect(conditions('error')).toEqual(['failing']);
    expect(conditions('inactive,offline')).toEqual(['away']);
    expect(conditions('online')).toEqual(['working', 'idle']);
    expect(conditions('failing,idle,away')).toEqual(['failing', 'away', 'idle']);
  });

  test('every part of a view is in it', () => {
    const parts: { [Part in keyof Required<View>]: View[Part] } = {
      layer: 'nodes',
      camera: { x: -10.5, y: 0, zoom: 2.25 },
      entity: 'node:01',
      at: '2026-01-19T12:00:00Z',
      panel: 'letters',
      table: true,
      sort: '-cpu',
      hidden: ['kind', 'microdao'],
      filter: { conditions: ['failing', 'away'], kind: 'scout', microdao: 'microdao:1' },
      feed: { text: 'Марта & run', isChanging: true },
      list: 'retrying',
    };
    expect(parseView(formatView(parts))).toEqual(parts);
    for (const part of Object.keys(parts) as (keyof View)[]) {
      const view = { ...parseView(''), [part]: parts[part] };
      expect(parseView(formatView(view)), part).toEqual(view);
      expect(formatView(view), part).not.toBe('');
    }
  });

  test('a camera belongs to its layer, a listed status to its panel', () => {
    const view = parseView('?camera=1,2,3&panel=lessons&list=active');
    expect(changedView(view, { layer: 'nodes' }).camera).toBeNull();
    expect(changedView(view, { entity: 'node:01' }).camera).toEqual({ x: 1, y: 2, zoom: 3 });
    expect(changedView(view, { panel: 'letters' }).list).toBeNull();
    expect(changedView(view, { panel: 'lessons' }).list).toBe('active');
  });

  test.each(['1,2', '1,2,3,4', '1,,3', '1,2,x', 'NaN,0,0', '1e999,0,0'])('camera %s is ignored', (camera) => {
    expect(parseView(`?camera=${camera}`).camera).toBeNull();
  });

  test('invalid values are ignored', () => {
    const view = parseView('?layer=moon&at=yesterday&panel=x&status=fine,failing&view=list&entity=');
    expect(view).toEqual({ ...parseView(''), filter: { ...NO_FILTER, conditions: ['failing'] } });
  });
});

describe('filters', () => {
  const scout = { id: 'agent:a', kind: 'scout', microdaoId: 'microdao:1' };
  const isFailing = () => 'failing' as const;

  test('no filter matches everything', () => {
    expect(matches(NO_FILTER, scout, isFailing)).toBe(true);
    expect(isFiltering(NO_FILTER)).toBe(false);
  });

  test('filters are combined with AND', () => {
    const filter = { conditions: ['failing', 'warning'], kind: 'scout', microdao: 'microdao:1' } as const;
    expect(matches(filter, scout, isFailing)).toBe(true);
    expect(matches(filter, scout, () => 'working')).toBe(false);
    expect(matches(filter, { ...scout, kind: 'writer' }, isFailing)).toBe(false);
    expect(matches(filter, { ...scout, microdaoId: null }, isFailing)).toBe(false);
  });

  test('a microDAO matches its own filter', () => {
    const microdao = { id: 'microdao:1', kind: 'microdao', microdaoId: null };
    expect(matches({ ...NO_FILTER, microdao: 'microdao:1' }, microdao, isFailing)).toBe(true);
  });

  test('events are found by subject and by entity', () => {
    const event = { event_type: 'agent.event.Status', entity_id: 'agent:sofia', changes: [] };
    const find = (text: string, isChanging = false) => matchesEvent({ text, isChanging }, event);
    expect([find(''), find(' event.status '), find('SOFIA'), find('node')]).toEqual([true, true, true, false]);
    expect(find('', true)).toBe(false);
  });
});

describe('opening', () => {
  test('the current layer is kept if it shows the entity', () => {
    expect(layerFor('agent', 'city')).toBe('city');
    expect(layerFor('agent', 'space')).toBe('agents');
    expect(layerFor('node', 'space')).toBe('space');
    expect(layerFor('dao', 'agents')).toBe('space');
  });

  test('a canonical id has a type', () => {
    expect(typeOf('microdao:7')).toBe('microdao');
    expect([typeOf('x'), typeOf(':a'), typeOf('toString:a')]).toEqual([undefined, undefined, undefined]);
  });
});

test('local times convert both ways', () => {
  const time = '2026-01-19T12:00:05.000Z';
  expect(fromLocal(toLocal(time))).toBe(time);
  expect([fromLocal(''), fromLocal('soon')]).toEqual([null, null]);
});
