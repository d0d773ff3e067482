/** Alerts for people: their titles with names, and what was measured. */

import type { Alert, Layers } from '@living-map/react';
import { itemById } from '../entities';
import type { Text } from '../i18n/text';
import { fieldName } from '../panels/facts';
import { serverText } from './server-text';

/** The built-in alert, whose title is in the language of the page. */
const DEAD_LETTERS = 'dead_letters';

/** Shortest name of a group that is replaced: a shorter one may be a part of the text. */
const GROUP_LENGTH = 3;

/** The title; that of a rule as its author wrote it, with names and rounded numbers. */
export function alertTitle(alert: Alert, layers: Layers | null, text: Text): string {
  const { id, rule, title, measurement } = alert;
  const bound = measurement?.bound ?? null;
  if (id === DEAD_LETTERS && rule === null && bound !== null) return text.t('alert.dead_letters', { count: bound });
  return serverText(withLabel(title, alert, layers), layers, text);
}

/** The message; `null`: none, or none that says more than the title. */
export function alertMessage(alert: Alert, layers: Layers | null, text: Text): string | null {
  if (alert.id === DEAD_LETTERS && alert.rule === null) return text.t('alert.dead_letters.about');
  return alert.message === null ? null : serverText(withLabel(alert.message, alert, layers), layers, text);
}

/** The compared value and its bound, in the language of the page; `null`: unknown. */
export function alertMeasure(
  { measurement }: Alert,
  { t, measured, milliseconds, number, maybe }: Text,
): string | null {
  if (!measurement) return null;
  const { field, value, condition, bound, window_seconds } = measurement;
  const time = window_seconds == null ? '' : milliseconds(window_seconds * 1000);
  if (condition === 'absent') return t('alert.absent', { time });
  const name = fieldName((field ?? '').slice((field ?? '').lastIndexOf('.') + 1), { maybe });
  if (condition === 'is') return t('alert.is', { name, value: maybe(`source.${value}`, String(value)) });
  if (typeof value !== 'number' || bound === null) return null;
  if (field === null) return t(`alert.rate.${condition}`, { count: value, time, bound: number(bound, 1) });
  return t(`alert.${condition}`, { name, value: measured(field, value), bound: measured(field, bound) });
}

/** A rule groups by any name of an entity; people know it by its label. */
function withLabel(said: string, { entity_id, group }: Alert, layers: Layers | null): string {
  const label = entity_id === null ? undefined : itemById(layers, entity_id)?.label;
  if (!label || group === null || group.length < GROUP_LENGTH) return said;
  const escaped = group.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return said.replaceAll(new RegExp(`(?<![\\w:-])${escaped}(?![\\w-])`, 'g'), () => label);
}
