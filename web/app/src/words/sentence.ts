/**
 * Events as sentences. `events.json` has the sentences of each subject, in every language, with these placeholders:
 *
 * - `{a|b}`: the first of these fields of the payload that has a value
 * - `{a:entity}`, `{a:number}`, `{a:signed}`, `{a:percent}`, `{a:duration}`, `{a:time}`: its form
 * - `{@rest}`: the subject without its first token
 * - `[…]`: left out when one of its placeholders has no value
 *
 * Of several sentences of one subject, the first whose `when` fields have these values is used.
 */

import type { EventFrame } from '@living-map/react';
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

const templates = table as unknown as Readonly<Record<string, readonly Template[]>>;
const patterns: ReadonlySet<string> = new Set(Object.keys(templates));

/** Whether the table has a sentence for a subject. */
export const hasSentence = (subject: string): boolean => bestPattern(patterns, subject) !== undefined;

export function sentenceOfEvent(event: SaidEvent, text: Text): EventSentence {
  const { event_type, payload } = event;
  if (event_type.endsWith('.dlq')) {
    const inner = sentenceOfEvent({ ...event, event_type: event_type.slice(0, -'.dlq'.length) }, text);
    return { icon: 'error', tone: 'failing', parts: [{ text: text.t('event.dead') }, ...inner.parts] };
  }
  const found = templates[bestPattern(patterns, event_type) ?? ''] ?? [];
  const chosen = found.find(({ when = {} }) =>
    Object.entries(when).every(([name, value]) => field(payload, name) === value),
  );
  if (!chosen) return { icon: 'change', tone: null, parts: readable(event) };
  const parts = fill(chosen[text.language], event, text) ?? readable(event);
  return { icon: chosen.icon, tone: chosen.tone ?? null, parts };
}

/** For unknown subjects: its words, and the entity. */
function readable({ event_type, entity_id }: SaidEvent): Part[] {
  const words = event_type.replaceAll(/[._]+/g, ' ').trim();
  const said = words.charAt(0).toLocaleUpperCase() + words.slice(1);
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
  for (const [whole, names, form] of segment.matchAll(/\{([^}:]+)(?::(\w+))?\}|[^{}]+/g)) {
    const part = names === undefined ? { text: whole } : formatted(names, form, event, text);
    if (part === null) return null;
    parts.push(part);
  }
  return parts;
}

function formatted(names: string, form: string | undefined, event: SaidEvent, text: Text): Part | null {
  if (names === '@rest') return { text: event.event_type.split('.').slice(1).join(' ').replaceAll('_', ' ') };
  const value = names
    .split('|')
    .map((name) => field(event.payload, name))
    .find((found) => found !== null && found !== undefined && found !== '');
  if (form === 'entity') return entityOf(value, names, event);
  if (value === undefined || typeof value === 'object') return null;
  const number = Number(value);
  const isNumber = typeof value !== 'boolean' && Number.isFinite(number);
  switch (form) {
    case 'number':
      return isNumber ? { text: text.number(number, 1) } : { text: String(value) };
    case 'signed':
      return isNumber ? { text: `${number > 0 ? '+' : ''}${text.number(number, 2)}` } : null;
    case 'percent':
      return isNumber ? { text: text.percent(number > 1 ? number / 100 : number) } : null;
    case 'duration':
      return isNumber ? { text: text.milliseconds(number) } : null;
    case 'time':
      return { text: text.clock(String(value)) };
    default:
      return { text: shortId(String(value)) };
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

const canonicalEnds = (canonical: string, id: string) => canonical === id || canonical.endsWith(`:${id}`);

function field(payload: unknown, name: string): unknown {
  return typeof payload === 'object' && payload !== null ? (payload as Record<string, unknown>)[name] : undefined;
}
