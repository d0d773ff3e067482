/** Groups events that say the same. */

export interface Group<Event> {
  readonly newest: Event;
  readonly count: number;
  /** Time of the oldest event. */
  readonly since: string;
}

interface Grouped {
  readonly event_type: string;
  readonly entity_id: string | null;
  readonly timestamp: string;
  readonly payload: unknown;
}

/** Events of one subject about one entity with the same outcome are one group, at the place of the newest. */
export function grouped<Event extends Grouped>(events: readonly Event[]): Group<Event>[] {
  const groups = new Map<string, { newest: Event; count: number; since: string }>();
  for (const event of events) {
    const key = [event.event_type, event.entity_id, outcomeOf(event.payload)].join('\n');
    const group = groups.get(key);
    if (!group) groups.set(key, { newest: event, count: 1, since: event.timestamp });
    else {
      group.count += 1;
      group.since = event.timestamp;
    }
  }
  return [...groups.values()];
}

function outcomeOf(payload: unknown): string {
  const { success, outcome, status } = (payload ?? {}) as Record<string, unknown>;
  return JSON.stringify([success, outcome, status]);
}
