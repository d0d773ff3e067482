/** Columns of a layer's table: name, kind, condition, microDAO, and one for each fact. */

import { findEntity, type Layer, type Layers, type Snapshot } from '@living-map/react';
import { type Item, itemsOf } from '../entities';
import { fieldsOf } from '../panels/facts';

/** Entity of one row with its fields. */
export interface TableRow {
  readonly item: Item;
  readonly fields: ReadonlyMap<string, unknown>;
}

/** Entities of a layer's table; those of the city include its agents. */
export function tableItems(layers: Layers | null, layer: Layer): Item[] {
  return layer === 'city' ? [...itemsOf(layers, 'city'), ...itemsOf(layers, 'agents')] : itemsOf(layers, layer);
}

/** Rows by item: unchanged items keep theirs, so that a change of one costs one. */
const cache = new WeakMap<Item, TableRow>();

export function rowOf(layers: Layers | null, item: Item): TableRow {
  const known = cache.get(item);
  if (known) return known;
  const entity = layers && findEntity({ layers } as Snapshot, item.id);
  const row = { item, fields: entity ? fieldsOf(entity) : new Map<string, unknown>() };
  cache.set(item, row);
  return row;
}

/** Fields of any row, in the order in which they first appear. */
export function fieldKeys(rows: readonly TableRow[]): string[] {
  const keys = new Set<string>();
  for (const { fields } of rows) for (const key of fields.keys()) keys.add(key);
  return [...keys];
}

/** Order of two values: numbers by size, texts by the rules of the language, missing ones last. */
export function compareValues(a: unknown, b: unknown, language: string): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return textOfValue(a).localeCompare(textOfValue(b), language, { numeric: true });
}

const textOfValue = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value));

/** Lines of comma-separated values (RFC 4180). Texts that a spreadsheet would run as a formula are preceded by `'`. */
export function csvOf(lines: readonly (readonly string[])[]): string {
  const cell = (text: string) => {
    const safe = /^[=+@\t\r]|^-(?![\d.])/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return lines.map((line) => `${line.map(cell).join(',')}\r\n`).join('');
}
