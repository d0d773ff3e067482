/**
 * Sentences of `tests/vectors/sentences.json`, which the command line's are compared with too. `UPDATE_VECTORS=1` writes
 * the file.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { loadTexts, textOf } from '../src/i18n/text';
import table from '../src/words/events.json';
import { type Part, type SaidEvent, sentenceOfEvent } from '../src/words/sentence';

await loadTexts('uk');

// Times in the sentences are those of this zone.
process.env.TZ = 'UTC';

const FILE = fileURLToPath(new URL('../../../tests/vectors/sentences.json', import.meta.url));

interface Case extends SaidEvent {
  tone: string | null;
  en: string;
  uk: string;
}

const plain = (parts: readonly Part[]) =>
  parts.map((part) => ('text' in part ? part.text : `<${part.entity}>`)).join('');

function caseOf(event_type: string, entity_id: string | null, payload: unknown): Case {
  const event = { event_type, entity_id, payload } as SaidEvent;
  const said = { en: sentenceOfEvent(event, textOf('en')), uk: sentenceOfEvent(event, textOf('uk')) };
  return { ...event, tone: said.en.tone, en: plain(said.en.parts), uk: plain(said.uk.parts) };
}

/** Values of a placeholder by its form; the later ones are unusual. */
const VALUES: Record<string, readonly unknown[]> = {
  number: [18_420.57, '35072.57224388', 'many', 1e21],
  count: [1, 18_420, '23', 'none'],
  signed: [12.345, '-12.50', -0.001, 'more'],
  percent: [0.607, 41, '0.575', false],
  duration: [5812, 134_000, '0.4', 90_061_000],
  time: ['2026-01-19T12:00:00Z', '2026-01-19T14:30:00.5+02:00', 'later', 'later'],
  entity: ['sofia', 'f47ac10b-58cc-4372-a567-0e02b2c3d479', 7, ['a']],
  '': ['glm-4', 'f47ac10b-58cc-4372-a567-0e02b2c3d479', '<b>{x} [y]</b>\n\u001b[31m', 'ї'.repeat(200)],
};

function* cases(): Generator<Case> {
  for (const [pattern, templates] of Object.entries(table)) {
    const subject = pattern === '*.dlq' ? 'agents.error.dlq' : pattern.replace('>', 'sample_7.item');
    for (const { en, when = {} } of templates as readonly { en: string; when?: object }[]) {
      const placeholders = [...en.matchAll(/\{([a-z][^}:]*)(?::(\w+))?/g)];
      const kind = placeholders.find(([, , form]) => form === 'entity')?.[1]?.split('_')[0];
      yield caseOf(subject, kind ? `${kind}:sofia` : null, when);
      for (const at of VALUES['']?.keys() ?? []) {
        const payload: Record<string, unknown> = {};
        // The second name of a placeholder is used, if there is one.
        for (const [, names = '', form = ''] of placeholders)
          payload[names.split('|')[at % 2] ?? names] = VALUES[form]?.[at];
        yield caseOf(subject, at % 2 === 0 ? 'channel:7' : null, { ...payload, ...when });
      }
    }
  }
  yield caseOf('weather.station_7.rain', 'agent:sofia', {});
  yield caseOf('living_map.dlq', null, null);
  yield caseOf('agent.event.status', 'agent:a', { agent_id: { x: 1 }, status: ['online'] });
  yield caseOf('agent.event.status', 'agent:a', { agent_id: 'a', status: true });
  yield caseOf('agent.event.status', 'agent:a', ['online']);
  yield caseOf('usage.agent', 'agent:1', { agent_id: '1', channel_id: '7' });
}

test('sentences are those of the shared vectors', () => {
  const made = [...cases()];
  if (process.env.UPDATE_VECTORS) writeFileSync(FILE, `[\n${made.map((one) => JSON.stringify(one)).join(',\n')}\n]\n`);
  expect(made).toEqual(JSON.parse(readFileSync(FILE, 'utf8')));
});
