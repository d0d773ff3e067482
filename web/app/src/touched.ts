import type { EventFrame } from '@living-map/react';

/** A poll's result changes many entities at once, not at this moment. */
const MAX_CHANGED = 8;

/** Ids of the entities at which an event is shown. */
export function touchedBy({ entity_id, changes }: EventFrame): string[] {
  const ids = new Set(changes.flatMap((change) => (change.op === 'upsert' ? [change.id] : [])));
  if (ids.size > MAX_CHANGED) ids.clear();
  if (entity_id !== null) ids.add(entity_id);
  return [...ids];
}
