/**
 * Events as sentences. `events.json` has the sentences of each subject, in every language, with these placeholders:
 *
 * - `{a|b}`: the first of these fields of the payload that has a value
 * - `{a:entity}`, `{a:number}`, `{a:signed}`, `{a:percent}`, `{a:duration}`, `{a:time}`: its form
 * - `{a:count:token|tokens}`: a whole number and the plural form of a noun
 * - `{@rest}`: the subject without its first token; `{@event}`: the sentence of a dead letter's event
 * - `[…]`: left out when one of its placeholders has no value
 *
 * Of several sentences of one subject, the first whose `when` fields have these values is used. `src/words` has the same
 * rules in Rust; `tests/vectors/sentences.json` has cases for both.
 */

import type { EventFrame } from '@living-map/react';
import { numeric } from '../i18n/numbers';
import type { Text } from '../i18n/text';
import type { Condition } from '../network/condition';
import table from './events.json';
import { bestPattern } from './pattern';

export type EventIcon =
  | 'agent'
  | 'alert'
  | 'audit'
  | 'change'
  | 'channel'
  | 'city'
  | 'error'
  | 'figures'
  | 'file'
  | 'filter'
  | 'gone'
  | 'health'
  | 'lesson'
  | 'memory'
  | 'message'
  | 'model'
  | 'money'
  | 'node'
  | 'person'
  | 'quest'
  | 'run'
  | 'space'
  | 'sync'
  | 'tool'
  | 'vote';

interface Template {
  readonly icon: EventIcon;
  readonly tone?: Condition;
  readonly when?: Readonly<Record<string, unknown>>;
  readonly en: string;
  readonly uk: string;
}

/** A part of a sentence: text, or the id of an entity. */
export type Part = { readonly text: string } | { readonly entity: string };

export interface EventSentence {
  readonly icon: EventIcon;
  readonly tone: Condition | null;
  readonly parts: readonly Part[];
}

export type SaidEvent = Pick<EventFrame, 'event_type' | 'entity_id' | 'payload'>;

/** Most characters of a publisher's text in a sentence. */
const MAX_TEXT = 160;
/** Key of the sentence about dead letters. */
const DEAD_LETTER = '*.dlq';

const templates = table as unknown as Readonly<Record<string, readonly Template[]>>;
const patterns: ReadonlySet<string> = new Set(Object.keys(templates));

/** Whether the table has a sentence for a subject. */
export const hasSentence = (subject: string): boolean => bestPattern(patterns, subject) !== undefined;

export function sentenceOfEvent(event: SaidEvent, text: Text): EventSentence {
  const { event_type, payload } = event;
  const key = event_type.endsWith('.dlq') ? DEAD_LETTER : bestPattern(patterns, event_type);
  const chosen = (templates[key ?? ''] ?? []).find(({ when = {} }) =>
    Object.entries(when).every(([name, value]) => field(payload, name) === value),
  );
  if (!chosen) return { icon: 'change', tone: null, parts: readable(event) };
  const parts = fill(chosen[text.language], event, text) ?? readable(event);
  return { icon: chosen.icon, tone: chosen.tone ?? null, parts };
}

/** For unknown subjects: its words, and the entity. */
function readable({ event_type, entity_id }: SaidEvent): Part[] {
  const words = event_type.replaceAll(/[._]+/g, ' ').trim();
  const said = words.charAt(0).toUpperCase() + words.slice(1);
  return entity_id === null ? [{ text: said }] : [{ text: `${said}: ` }, { entity: entity_id }];
}

/** Fills a template; `null` when a required placeholder has no value. */
function fill(template: string, event: SaidEvent, text: Text): Part[] | null {
  const parts: Part[] = [];
  for (const [whole, optional] of template.matchAll(/\[([^\]]*)\]|[^[\]]+/g)) {
    const filled = fillSegment(optional ?? whole, event, text);
    if (filled) parts.push(...filled);
    else if (optional === undefined) return null;
  }
  return parts;
}

function fillSegment(segment: string, event: SaidEvent, text: Text): Part[] | null {
  const parts: Part[] = [];
  for (const [whole, names, form, words] of segment.matchAll(/\{([^}:]+)(?::(\w+)(?::([^}]*))?)?\}|[^{}]+/g)) {
    if (names === undefined) parts.push({ text: whole });
    else if (names === '@event') {
      const event_type = event.event_type.replace(/(\.dlq)+$/, '');
      parts.push(...sentenceOfEvent({ ...event, event_type }, text).parts);
    } else {
      const part = formatted({ names, form, words }, event, text);
      if (part === null) return null;
      parts.push(part);
    }
  }
  return parts;
}

interface Placeholder {
  readonly names: string;
  readonly form: string | undefined;
  /** Plural forms of the counted noun. */
  readonly words: string | undefined;
}

function formatted({ names, form, words = '' }: Placeholder, event: SaidEvent, text: Text): Part | null {
  if (names === '@rest') return { text: event.event_type.split('.').slice(1).join(' ').replaceAll('_', ' ') };
  const value = names
    .split('|')
    .map((name) => field(event.payload, name))
    .find((found) => found !== null && found !== undefined && found !== '');
  if (form === 'entity') return entityOf(value, names, event);
  if (value === undefined || typeof value === 'object') return null;
  const number = numeric(value);
  switch (form) {
    case 'number':
      return { text: number === null ? short(String(value)) : text.number(number, 1) };
    case 'count': {
      const count = number === null ? null : Math.round(number);
      return count === null ? null : { text: `${text.number(count)} ${text.plural(count, words)}` };
    }
    case 'signed':
      return number === null ? null : { text: `${number > 0 ? '+' : ''}${text.number(number, 2)}` };
    case 'percent':
      return number === null ? null : { text: text.percent(number) };
    case 'duration':
      return number === null ? null : { text: text.milliseconds(number) };
    case 'time':
      return { text: text.clock(String(value)) };
    default:
      return { text: short(String(value)) };
  }
}

/**
 * An entity by a field. The event's own entity by its canonical id, when the field is for its type (`dao_id`, which may have
 * another name of it) or has its id.
 */
function entityOf(value: unknown, names: string, { entity_id }: SaidEvent): Part | null {
  const type = names.split('_')[0] ?? '';
  if (entity_id?.startsWith(`${type}:`)) return { entity: entity_id };
  if (value === undefined || value === null || typeof value === 'object') return null;
  const id = String(value);
  return { entity: entity_id !== null && canonicalEnds(entity_id, id) ? entity_id : id };
}

/** A UUID by its first digits, as in version control; other texts as they are. */
export const shortId = (text: string): string =>
  /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text.slice(0, 8) : text;

/** A text of a publisher; a long one is cut. */
function short(text: string): string {
  const cut = [...text.slice(0, 2 * MAX_TEXT + 2)].slice(0, MAX_TEXT).join('');
  return cut.length < text.length ? `${cut}…` : shortId(text);
}

const canonicalEnds = (canonical: string, id: string) => canonical === id || canonical.endsWith(`:${id}`);

function field(payload: unknown, name: string): unknown {
  return typeof payload === 'object' && payload !== null ? (payload as Record<string, unknown>)[name] : undefined;
}
