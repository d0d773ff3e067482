import type { Alert } from '@living-map/react';
import { expect, test } from 'vitest';
import { isSilenced, namedBy, scopesOf, silenceOf } from '../src/silences';

const alert: Alert = {
  id: 'agent-errors:agent:sofia',
  severity: 'warning',
  title: 'sofia keeps failing',
  message: null,
  source: 'living-map',
  rule: 'agent-errors',
  group: 'agent:sofia',
  entity_id: 'agent:sofia',
  raised_at: '2026-01-19T12:00:00Z',
  acknowledged_by: null,
  acknowledged_at: null,
  note: null,
  silenced_until: null,
};

test('scopes of an alert are listed narrowest first', () => {
  expect(scopesOf(alert)).toEqual([
    ['alert', 'agent-errors:agent:sofia'],
    ['rule', 'agent-errors'],
    ['entity_id', 'agent:sofia'],
  ]);
  expect(scopesOf({ ...alert, rule: null, entity_id: null })).toEqual([['alert', 'agent-errors:agent:sofia']]);
});

test('a silence lists all its matchers', () => {
  expect(namedBy({ alert: null, rule: 'agent-errors', entity_id: 'agent:sofia' })).toEqual([
    ['rule', 'agent-errors'],
    ['entity_id', 'agent:sofia'],
  ]);
});

test('the request has one matcher and a reason', () => {
  expect(silenceOf(alert, 'rule', 60, ' being moved ')).toEqual({
    rule: 'agent-errors',
    minutes: 60,
    note: 'being moved',
  });
  expect(silenceOf({ ...alert, rule: null }, 'alert', 15, 'x')).toEqual({ alert: alert.id, minutes: 15, note: 'x' });
});

test('a silence ends by time, without an update', () => {
  const silenced = { ...alert, silenced_until: '2026-01-19T13:00:00Z' };
  expect(isSilenced(alert, 0)).toBe(false);
  expect(isSilenced(silenced, Date.parse('2026-01-19T12:59:59Z'))).toBe(true);
  expect(isSilenced(silenced, Date.parse('2026-01-19T13:00:00Z'))).toBe(false);
});
