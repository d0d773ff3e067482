/** Fields of an entity as localized name and value. */

import type { Entity } from '@living-map/react';
import { numeric } from '../i18n/numbers';
import type { Text } from '../i18n/text';

export interface Fact {
  name: string;
  value: string;
  /** Whether it is a number that is shown large. */
  isFigure: boolean;
}

/** Fields shown elsewhere on the panel. */
const SHOWN_ELSEWHERE = new Set(['name', 'status', 'type', 'microdao_id', 'slug', 'orbits', 'position']);
const TIMES = new Set(['last_active', 'last_seen']);

/** Fields of an entity by name, in the map's order, without unknown (`null`) ones. */
export function fieldsOf({ data, type }: Entity): Map<string, unknown> {
  const fields = new Map<string, unknown>();
  const add = (values: object) => {
    for (const [key, value] of Object.entries(values)) {
      if (key === 'id' || value === null || SHOWN_ELSEWHERE.has(key)) continue;
      if (key === 'usage' || key === 'metrics') add(value);
      else fields.set(key, value);
    }
  };
  // The relations list a node's agents; the number is redundant.
  add(type === 'node' ? { ...data, agents: null } : data);
  return fields;
}

/** The fields as names and values for people. */
export function factsOf(entity: Entity, text: Text): Fact[] {
  const facts: Fact[] = [{ name: text.t('field.id'), value: entity.data.id, isFigure: false }];
  for (const [key, value] of fieldsOf(entity)) {
    const words = formatField(key, value, text);
    if (words) facts.push({ name: fieldName(key, text), value: words, isFigure: typeof value === 'number' });
  }
  return facts;
}

export const fieldName = (key: string, text: Pick<Text, 'maybe'>): string => text.maybe(`field.${key}`, key);

/** A value for people; empty if it says nothing. */
export function formatField(key: string, value: unknown, text: Text): string {
  if (typeof value === 'number') return text.measured(key, value);
  if (Array.isArray(value)) return value.map((entry) => listed(entry, text)).join(', ');
  if (typeof value === 'object' && value !== null) return run(value, text);
  if (typeof value === 'string' && TIMES.has(key)) return text.clock(value, true);
  return String(value);
}

function listed(entry: unknown, text: Text): string {
  const { balance, token_symbol } = (entry ?? {}) as { balance?: unknown; token_symbol?: unknown };
  if (balance === undefined) return typeof entry === 'object' ? JSON.stringify(entry) : String(entry);
  const amount = numeric(balance);
  return amount === null ? `${balance} ${token_symbol}` : text.money(amount, String(token_symbol));
}

function run(value: object, text: Text): string {
  const { started_at, progress } = value as { started_at?: unknown; progress?: unknown };
  const words = [];
  if (typeof started_at === 'string') words.push(text.t('run.since', { time: text.clock(started_at) }));
  if (typeof progress === 'number') words.push(text.t('run.progress', { part: text.percent(progress) }));
  return words.join(', ');
}
