/** Filter of the event feed. */

import type { EventFrame } from '@living-map/react';

export interface FeedFilter {
  /** Text to search for in the subject and the entity's id. */
  readonly text: string;
  /** Only events that changed the map. */
  readonly isChanging: boolean;
}

export const NO_FEED_FILTER: FeedFilter = { text: '', isChanging: false };

export function matchesEvent(
  { text, isChanging }: FeedFilter,
  { event_type, entity_id, changes }: Pick<EventFrame, 'event_type' | 'entity_id' | 'changes'>,
): boolean {
  if (isChanging && changes.length === 0) return false;
  const wanted = text.trim().toLocaleLowerCase();
  return (
    !wanted || event_type.toLocaleLowerCase().includes(wanted) || !!entity_id?.toLocaleLowerCase().includes(wanted)
  );
}
