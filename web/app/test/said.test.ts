/** Texts of alerts, lessons and events: with names, local times, rounded numbers and plural forms. */

import type { Alert, Layers, Lessons } from '@living-map/react';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadTexts, textOf } from '../src/i18n/text';
import { alertMeasure, alertMessage, alertTitle } from '../src/words/alert-text';
import { eventFields } from '../src/words/event-fields';
import names from '../src/words/event-fields.json';
import { lessonText } from '../src/words/lesson-text';
import lessons from '../src/words/lessons.json';
import { serverText } from '../src/words/server-text';
import { network } from './network';

await loadTexts('uk');

type Lesson = Lessons['items'][number];

const en = textOf('en');
const uk = textOf('uk');
const layers: Layers = network(1, 2, 1);
const agent = layers.agents?.items[0];
const id = agent?.id ?? '';
const name = agent?.name ?? '';

// Before the first time is formatted.
beforeAll(() => {
  process.env.TZ = 'UTC';
});

describe('texts of the server', () => {
  test('have names, local times and rounded numbers', () => {
    expect(serverText(`${id} failed since 2026-01-19T12:00:00Z`, layers, en)).toBe(
      `${name} failed since 19 Jan, 12:00:00`.replace('19 Jan', 'Jan 19'),
    );
    expect(serverText('0.607 of its CPU is in use', null, en)).toBe('0.61 of its CPU is in use');
    expect(serverText('1.0 errors in twenty seconds', null, en)).toBe('1 errors in twenty seconds');
    expect(serverText('now 35072.57224388.', null, en)).toBe('now 35,072.6.');
    expect(serverText('now 35072.57224388', null, uk)).toBe('now 35\u00a0072,6');
  });

  test('keep names, versions and addresses', () => {
    for (const said of [
      'glm-4.5 refused',
      '10.0.0.1:80',
      'v1.25',
      'version 1.2.3',
      '3.5:latest',
      'a/0.5/b',
      '12 errors',
    ])
      expect(serverText(said, layers, uk)).toBe(said);
  });
});

describe('alerts', () => {
  const alert: Alert = {
    id: 'node-busy:n',
    severity: 'warning',
    title: `${id} is busy`,
    message: '61% of its CPU is in use',
    source: 'living-map',
    entity_id: id,
    raised_at: '2026-01-19T12:00:00Z',
    rule: 'node-busy',
    group: id,
    acknowledged_by: null,
    acknowledged_at: null,
    note: null,
    silenced_until: null,
  };
  const measured = (measurement: Partial<NonNullable<Alert['measurement']>>): Alert => ({
    ...alert,
    measurement: {
      field: 'payload.cpu',
      value: 0.607,
      condition: 'above',
      bound: 0.6,
      window_seconds: null,
      ...measurement,
    },
  });

  test('have the names of their entities, also where a rule groups by another id', () => {
    expect(alertTitle(alert, layers, en)).toBe(`${name} is busy`);
    expect(alertTitle({ ...alert, title: 'node-01 is hot', group: 'node-01' }, layers, en)).toBe(`${name} is hot`);
    expect(alertTitle({ ...alert, title: 'node-012 is hot', group: 'node-01' }, layers, en)).toBe('node-012 is hot');
    expect(alertMessage({ ...alert, message: null }, layers, en)).toBeNull();
  });

  test('say what was measured, with units, in both languages', () => {
    expect(alertMeasure(alert, en)).toBeNull();
    expect(alertMeasure(measured({}), en)).toBe('CPU: 61%, above 60%');
    expect(alertMeasure(measured({}), uk)).toBe('CPU: 61%, понад 60%');
    const hot = measured({ field: 'metrics.temperature', value: 81.257, bound: 80 });
    expect(alertMeasure(hot, en)).toBe('Temperature: 81.3 °C, above 80 °C');
    const rate = (value: number) => measured({ field: null, value, bound: 0, window_seconds: 20 });
    expect([1, 2].map((count) => alertMeasure(rate(count), en))).toEqual([
      '1 event in 20 sec, above 0',
      '2 events in 20 sec, above 0',
    ]);
    expect(alertMeasure(rate(3), uk)).toBe('3 події за 20 с, понад 0');
    expect(alertMeasure(measured({ field: 'status', value: 'down', condition: 'is', bound: null }), uk)).toMatch(
      /^Стан: /,
    );
    expect(alertMeasure(measured({ field: null, condition: 'absent', bound: null, window_seconds: 90 }), en)).toBe(
      'No such event for 1 min 30 sec',
    );
  });

  test('the built-in one is in the language of the page', () => {
    const dead = { ...measured({ field: 'dead_letters', value: 4, bound: 3 }), id: 'dead_letters', rule: null };
    expect(alertTitle(dead, null, en)).toBe('More than 3 dead letters');
    expect(alertTitle(dead, null, uk)).toBe('Понад 3 недоставлені повідомлення');
    expect(alertMeasure(dead, en)).toBe('Dead letters: 4, above 3');
  });
});

describe('lessons', () => {
  const lesson = (rule: string, signature: string) =>
    ({
      agent_id: id,
      rule,
      signature,
      title: 'Repeated failures: x',
      text: `${id} failed`,
      occurrences: 3,
      first_seen: '2026-01-19T12:00:00Z',
      last_seen: '2026-01-19T12:04:00Z',
    }) as Lesson;

  test.each([
    ['drift', 'latency'],
    ['error_burst', 'rate_limited'],
    ['latency_spike', 'latency'],
    ['recovery', 'rate_limited'],
    ['silent_answers', 'silent'],
    ['sibling', 'model:glm-4:worse'],
    ['sibling', 'tool:search:better'],
    ['shared_cause', 'error_burst:rate:limited'],
    ['shared_cause', 'latency_spike:latency'],
    ['shared_cause', 'silent_answers:silent'],
  ])('%s (%s) has texts in both languages', (rule, signature) => {
    for (const text of [en, uk]) {
      const { title, observation, advice } = lessonText(lesson(rule, signature), layers, text);
      for (const said of [title, observation, advice]) expect(said).toMatch(/^[^{}|]+$/);
      expect(observation).toMatch(/12:00:00/);
      expect(observation).not.toContain(id);
      if (text === uk) expect(`${title}${observation}${advice}`).toMatch(/[а-щіїєґ]{4}/);
    }
  });

  test('have names, a local time, a duration and plural forms', () => {
    const { title, observation } = lessonText(lesson('error_burst', 'rate_limited'), layers, en);
    expect(title).toBe('Repeated failures: rate_limited');
    expect(observation).toBe(`${name} failed 3 times with “rate_limited” within 4 min, since Jan 19, 12:00:00.`);
    const once = { ...lesson('error_burst', 'rate_limited'), occurrences: 1 };
    expect(lessonText(once, layers, en).observation).toContain('failed 1 time with');
    expect(lessonText(lesson('shared_cause', 'error_burst:rate:limited'), layers, en).title).toContain(
      '“rate:limited”',
    );
  });

  test('of another rule are shown as they were recorded', () => {
    const { observation, advice } = lessonText(lesson('own_rule', 'x'), layers, uk);
    expect([observation, advice]).toEqual([`${name} failed`, null]);
  });
});

describe('what an event carries', () => {
  const payload = {
    agent_id: 'oleh',
    channel_id: 'channel:7',
    sender_id: 'marta',
    model: 'glm-4',
    tool_name: 'search',
    latency_ms: 5812,
    total_tokens: 18_420,
    success: false,
    run_id: 'r-1',
    cost_usd: 0.11,
    unknown: { x: 1 },
  };
  const event = {
    id: 'e1',
    event_type: 'usage.llm',
    timestamp: '2026-01-19T12:00:00.123Z',
    entity_id: 'agent:oleh',
    payload,
    trace_id: 'trace-1',
  };

  test('is labelled and has units', () => {
    expect(Object.fromEntries(eventFields(event, en).map(({ name, value }) => [name, value]))).toEqual({
      Agent: 'oleh',
      Channel: 'channel:7',
      Sender: 'marta',
      Model: 'glm-4',
      Tool: 'search',
      Latency: '5.8 sec',
      Tokens: '18,420',
      Success: 'no',
      Run: 'r-1',
      Cost: '0.11 $',
      Trace: 'trace-1',
      'Exact time': '2026-01-19T12:00:00.123Z',
      'Id of the event': 'e1',
    });
    expect(eventFields(event, uk).map(({ name }) => name)).toContain('Токени');
  });

  test('may be nothing', () => {
    for (const empty of [null, 'text', [], { model: ['x'], success: null }])
      expect(eventFields({ ...event, payload: empty, trace_id: null }, en).map(({ name }) => name)).toEqual([
        'Exact time',
        'Id of the event',
      ]);
  });
});

test('amounts and sizes are rounded and have units', () => {
  expect(en.money(35_072.572_243_88, 'DCR')).toBe('35,072.57 DCR');
  expect(en.money(0.000_123, 'ETH')).toBe('0.00012 ETH');
  expect(en.money(5, 'DAAR')).toBe('5 DAAR');
  expect([0, 999, 1000, 1_234_567].map(en.bytes)).toEqual(['0 byte', '999 byte', '1 kB', '1.2 MB']);
  expect(en.milliseconds(134_000)).toBe('2 min 14 sec');
});

test('the texts of lessons have equal placeholders and all plural forms in both languages', () => {
  const gaps = (said: string) => [...new Set(said.match(/\{\w+\}/g))].sort();
  for (const [rule, languages] of Object.entries(lessons))
    for (const part of ['title', 'text', 'advice'] as const) {
      const [english, ukrainian] = [languages.en[part], languages.uk[part]];
      expect(gaps(ukrainian), rule).toEqual(gaps(english));
      const forms = [english, ukrainian].map((said) => said.split('|').length);
      if (part === 'text') expect(forms, rule).toEqual([2, 3]);
    }
});

test('the names of event fields are in both languages', () => {
  for (const [key, { en: english, uk: ukrainian }] of Object.entries(names)) {
    expect(english, key).toMatch(/\w/);
    expect(ukrainian, key).toMatch(/[а-щіїє]/);
  }
});
