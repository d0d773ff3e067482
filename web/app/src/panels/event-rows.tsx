/** Events as rows: a sentence with an icon; repeated ones are one row. */

import { memo, Suspense, useMemo, useState } from 'react';
import { itemById } from '../entities';
import { useLayers } from '../live';
import { late } from '../parts/late';
import { EntityLink } from '../parts/link';
import { useText } from '../preferences';
import { EventGlyph } from '../ui/event-icon';
import type { DetailedEvent } from '../words/event-fields';
import { grouped } from '../words/group';
import { type Part, sentenceOfEvent, shortId } from '../words/sentence';

/** Loaded when the first event is opened. */
const EventDetail = late(async () => ({ default: (await import('./event-detail')).EventDetail }));

export type FeedEvent = DetailedEvent;

export function EventRows({ events }: { events: readonly FeedEvent[] }) {
  const groups = useMemo(() => grouped(events), [events]);
  return (
    <ol className="events">
      {groups.map(({ newest, count, since }) => (
        <EventRow key={newest.id} event={newest} count={count} since={since} />
      ))}
    </ol>
  );
}

interface EventRowProps {
  event: FeedEvent;
  /** Number of equal events, of which `event` is the newest, and the time of the oldest. */
  count: number;
  since: string;
}

const EventRow = memo(function EventRow({ event, count, since }: EventRowProps) {
  const text = useText();
  const { t, clock } = text;
  const { event_type, timestamp } = event;
  const [isOpen, setOpen] = useState(false);
  const { icon, tone, parts } = useMemo(() => sentenceOfEvent(event, text), [event, text]);
  return (
    <li data-subject={event_type} data-tone={tone ?? undefined}>
      <time dateTime={timestamp} title={timestamp}>
        {clock(timestamp)}
      </time>
      <EventGlyph icon={icon} />
      <div>
        <p className="said">
          {parts.map((part, at) => (
            <Said key={at} part={part} />
          ))}
        </p>
        {count > 1 && <p className="muted small">{t('event.repeated', { count, time: clock(since) })}</p>}
        <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
          <summary aria-label={`${t('event.details')}: ${event_type}`}>{event_type}</summary>
          <Suspense>{isOpen && <EventDetail event={event} />}</Suspense>
        </details>
      </div>
    </li>
  );
});

/** A part of a sentence; an entity by its name. */
export function Said({ part }: { part: Part }) {
  const layers = useLayers();
  if ('text' in part) return part.text;
  const item = itemById(layers, part.entity);
  if (!item) return <strong>{shortId(part.entity.slice(part.entity.indexOf(':') + 1))}</strong>;
  return (
    <EntityLink id={item.id} item={item}>
      {item.label}
    </EntityLink>
  );
}
