/** What an event carries, as names and values for people. `event-fields.json` has the names. */

import { numeric } from '../i18n/numbers';
import type { Text } from '../i18n/text';
import names from './event-fields.json';

/** An event of the stream or of history. */
export interface DetailedEvent {
  readonly id: string;
  readonly event_type: string;
  readonly timestamp: string;
  readonly entity_id: string | null;
  readonly payload: unknown;
  readonly trace_id?: string | null | undefined;
  readonly source_service?: string | null | undefined;
}

export interface EventField {
  readonly name: string;
  readonly value: string;
  /** Whether `value` is the id of an entity. */
  readonly isEntity: boolean;
}

type Form = 'text' | 'entity' | 'number' | 'duration' | 'percent' | 'dollars' | 'bytes' | 'flag';

/** Fields of payloads in the order in which they are shown: key of the name, names in payloads, form. */
const FIELDS: readonly (readonly [keyof typeof names, readonly string[], Form])[] = [
  ['success', ['success', 'is_success'], 'flag'],
  ['outcome', ['outcome', 'decision'], 'text'],
  ['agent', ['agent_id', 'actor_id', 'target_agent_id'], 'entity'],
  ['channel', ['channel_id', 'room_id', 'matrix_room_id'], 'entity'],
  ['sender', ['sender_id', 'sender', 'user_id'], 'entity'],
  ['node', ['node_id'], 'entity'],
  ['task', ['task', 'input_text'], 'text'],
  ['model', ['model', 'new_model'], 'text'],
  ['provider', ['provider'], 'text'],
  ['tool', ['tool_name', 'tool', 'tool_id'], 'text'],
  ['latency', ['latency_ms', 'duration_ms', 'avg_latency_ms'], 'duration'],
  ['tokens', ['total_tokens', 'tokens_used'], 'number'],
  ['tokens.in', ['input_tokens', 'prompt_tokens', 'tokens_in'], 'number'],
  ['tokens.out', ['output_tokens', 'completion_tokens', 'tokens_out'], 'number'],
  ['cost', ['cost_usd'], 'dollars'],
  ['progress', ['progress'], 'percent'],
  ['attempt', ['attempt'], 'number'],
  ['size', ['size_bytes'], 'bytes'],
  ['error', ['error_message', 'error'], 'text'],
  ['error.class', ['error_class', 'error_type'], 'text'],
  ['run', ['run_id', 'agent_run_id', 'workflow_id'], 'text'],
];

export function eventFields(event: DetailedEvent, text: Text): EventField[] {
  const payload = (typeof event.payload === 'object' && event.payload) || {};
  const fields: EventField[] = [];
  const add = (key: keyof typeof names, value: string | null | undefined, isEntity = false) => {
    if (value) fields.push({ name: names[key][text.language], value, isEntity });
  };
  for (const [key, own, form] of FIELDS) {
    const values = own.map((name) => (payload as Record<string, unknown>)[name]);
    const value = values.find((found) => found !== null && found !== undefined && found !== '');
    add(key, formatted(value, form, text), form === 'entity');
  }
  const { trace_id } = payload as { trace_id?: unknown };
  add('trace', event.trace_id ?? (typeof trace_id === 'string' ? trace_id : null));
  add('source', event.source_service);
  add('time', event.timestamp);
  add('id', event.id);
  return fields;
}

function formatted(value: unknown, form: Form, text: Text): string | null {
  if (value === undefined || value === null || typeof value === 'object') return null;
  if (form === 'flag') return typeof value === 'boolean' ? names[value ? 'yes' : 'no'][text.language] : String(value);
  const number = numeric(value);
  if (number === null || form === 'text' || form === 'entity') return String(value);
  switch (form) {
    case 'duration':
      return text.milliseconds(number);
    case 'percent':
      return text.percent(number);
    case 'dollars':
      return text.money(number, '$');
    case 'bytes':
      return text.bytes(number);
    default:
      return text.number(number, 1);
  }
}
