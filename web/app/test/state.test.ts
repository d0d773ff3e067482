import type { Alert, Layers, SourceHealth } from '@living-map/react';
import { describe, expect, test } from 'vitest';
import { parseMoment } from '../src/frame/moment';
import { textOf } from '../src/i18n/text';
import { sentenceOf } from '../src/network/sentence';
import { networkState } from '../src/network/state';
import { network } from './network';

const NOW = Date.parse('2026-01-19T12:00:00Z');
const ago = (seconds: number) => new Date(NOW - seconds * 1000).toISOString();

const alert = (change: Partial<Alert>): Alert => ({
  id: 'a1',
  severity: 'critical',
  title: 'Refused calls',
  message: null,
  entity_id: null,
  group: null,
  rule: null,
  source: null,
  note: null,
  raised_at: ago(240),
  acknowledged_at: null,
  acknowledged_by: null,
  silenced_until: null,
  ...change,
});

const source = (change: Partial<SourceHealth>): SourceHealth => ({
  service: 'usage',
  status: 'ok',
  age_seconds: 1,
  last_error: null,
  last_success_at: ago(1),
  ...change,
});

/** A map of two microDAOs with four agents and two nodes, changed by `change`. */
function map(change: (layers: Layers) => void = () => {}): Layers {
  const layers = structuredClone(network(2, 4, 2));
  change(layers);
  return layers;
}

const agentsOf = (layers: Layers) => layers.agents?.items ?? [];

describe('the condition of an entity', () => {
  const conditionOf = (id: string, change: (layers: Layers) => void) =>
    networkState(map(change), [], NOW).conditionOf(id);
  const first = 'agent:00000';
  const withAgent = (change: Partial<ReturnType<typeof agentsOf>[number]>) => (layers: Layers) =>
    Object.assign(agentsOf(layers)[0] ?? {}, change);

  test('follows from status, activity and alerts, the worst first', () => {
    expect(conditionOf(first, () => {})).toBe('idle');
    expect(conditionOf(first, withAgent({ last_active: ago(59) }))).toBe('working');
    expect(conditionOf(first, withAgent({ last_active: ago(61) }))).toBe('idle');
    expect(conditionOf(first, withAgent({ current_run: { run_id: 'r' } as never }))).toBe('working');
    expect(conditionOf(first, withAgent({ status: 'offline', last_active: ago(1) }))).toBe('away');
    expect(conditionOf(first, withAgent({ status: 'warning' }))).toBe('warning');
    expect(conditionOf(first, withAgent({ status: 'error' }))).toBe('failing');
  });

  test('an alert marks its entity and the district of the entity', () => {
    const layers = map(({ city }) => city?.alerts.push(alert({ entity_id: first })));
    const state = networkState(layers, [], NOW);
    expect(state.conditionOf(first)).toBe('failing');
    expect(state.troubleIn('microdao:0')).toBe('failing');
    expect(state.troubleIn('microdao:1')).toBeNull();
    expect(state.counts.failing).toBe(1);
  });

  test('a text on a node is a warning', () => {
    const layers = map(({ nodes }) => nodes?.items[0]?.alerts.push('disk is full'));
    expect(networkState(layers, [], NOW).conditionOf('node:00000')).toBe('warning');
  });

  test('counts cover every entity once', () => {
    const { counts, agents } = networkState(map(), [], NOW);
    expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(2 + 2 + 2 + 4 + 2);
    expect(agents).toEqual({ total: 4, working: 0 });
  });
});

test('problems are ordered: failing first, silenced last, then the newest', () => {
  const layers = map((changed) => {
    changed.city?.alerts.push(
      alert({ id: 'old', raised_at: ago(900), title: 'old' }),
      alert({ id: 'quiet', raised_at: ago(1), title: 'silenced', silenced_until: ago(-60) }),
      alert({ id: 'new', raised_at: ago(60), title: 'new' }),
      alert({ id: 'warned', severity: 'warning', raised_at: ago(2), title: 'warned' }),
      alert({ id: 'told', severity: 'info', title: 'told' }),
    );
  });
  const { problems } = networkState(layers, [source({ status: 'down', last_success_at: ago(30) })], NOW);
  const names = problems.map((problem) => problem.alert?.title ?? problem.source?.service);
  expect(names).toEqual(['usage', 'new', 'old', 'silenced', 'warned']);
});

describe('the sentence', () => {
  const say = (
    change: (layers: Layers) => void,
    circumstances: { connection?: 'open' | 'closed'; at?: string; sources?: SourceHealth[] } = {},
  ) => {
    const { connection = 'open', at = null, sources = [] } = circumstances;
    const layers = map(change);
    return sentenceOf(
      networkState(layers, sources, NOW),
      { layers, connection, isLost: connection === 'closed', at },
      textOf('en'),
    );
  };

  test('all is quiet', () => {
    const { tone, headline, detail } = say((layers) =>
      Object.assign(agentsOf(layers)[0] ?? {}, { last_active: ago(1) }),
    );
    expect([tone, headline, detail]).toEqual(['working', 'All quiet.', '4 agents, 1 working']);
  });

  test('says what is worst, since when, and what depends on it', () => {
    const said = say(({ city }) => {
      city?.alerts.push(
        alert({ entity_id: 'microdao:0' }),
        alert({ id: 'b', severity: 'warning', entity_id: 'node:00001' }),
      );
    });
    expect(said.headline).toBe('MicroDAO 0 is failing.');
    expect(said.detail).toMatch(/^Refused calls, since \d\d:56:00\. 2 agents depend on it\. 1 more problem\.$/);
    expect(said.lead).toEqual({ entity: 'microdao:0' });
  });

  test('an unreachable service is named, with the time of its data', () => {
    const said = say(() => {}, { sources: [source({ status: 'down', last_success_at: ago(120) })] });
    expect(said.headline).toBe('The service usage does not answer.');
    expect(said.detail).toMatch(/^Its part of the map is as of \d\d:58:00\.$/);
    expect(said.lead).toEqual({ panel: 'health' });
  });

  test('a lost connection is never quiet', () => {
    const said = say(() => {}, { connection: 'closed' });
    expect(said.tone).toBe('lost');
    expect(said.detail).toBe('');
    expect(said.headline).toMatch(/^Connection lost\. The map is as of \d\d:00:00\.$/);
  });

  test('the past is not shown as the present', () => {
    expect(say(() => {}, { at: ago(0) }).tone).toBe('past');
  });
});

describe('moments', () => {
  const parse = (text: string) => parseMoment(text, NOW, 'uk');

  test('are read as people write them', () => {
    expect(parse('10 min ago')).toBe(NOW - 600_000);
    expect(parse('2 h ago')).toBe(NOW - 7_200_000);
    expect(parse('5 хв тому')).toBe(NOW - 300_000);
    expect(parse('2026-01-18T14:00:00Z')).toBe(Date.parse('2026-01-18T14:00:00Z'));
    const clock = new Date(parse('yesterday 14:05') ?? 0);
    expect([clock.getHours(), clock.getMinutes()]).toEqual([14, 5]);
    expect(parse('вчора 14:05')).toBe(clock.getTime());
    expect(parse('23:59')).toBeLessThan(NOW);
  });

  test('other texts are not moments', () => {
    expect(['', 'sofia', '25:00', '10', '2099-01-01', 'ago'].map(parse)).toEqual(Array(6).fill(null));
  });
});
