import { type EventFrame, useResource } from '@living-map/react';
import { memo, useMemo, useState } from 'react';
import { itemById } from '../entities';
import { useEvents, useLayers } from '../live';
import { Answer } from '../parts/answer';
import { EntityLink } from '../parts/link';
import { useText } from '../preferences';
import { server } from '../server';
import { useTravel } from '../travel';
import { type FeedFilter, matchesEvent } from './feed-filter';

/** Maximum number of rows; older events are in the history. */
const ROWS = 60;

export type FeedEvent = Pick<EventFrame, 'id' | 'event_type' | 'timestamp' | 'entity_id' | 'payload'>;

export function Feed() {
  const { at } = useTravel();
  return at === null ? <LiveFeed /> : <PastFeed at={at} />;
}

function LiveFeed() {
  const { t } = useText();
  const events = useEvents();
  const [filter, setFilter] = useState<FeedFilter>({ text: '', isChanging: false });
  const [paused, setPaused] = useState<readonly EventFrame[] | null>(null);
  const shown = useMemo(
    () => (paused ?? events).filter((event) => matchesEvent(filter, event)).slice(0, ROWS),
    [paused, events, filter],
  );
  return (
    <>
      <div className="tools">
        <input
          type="search"
          value={filter.text}
          placeholder={t('feed.filter')}
          aria-label={t('feed.filter')}
          onChange={(event) => setFilter({ ...filter, text: event.target.value })}
        />
        <button type="button" aria-pressed={paused !== null} onClick={() => setPaused(paused ? null : events)}>
          {t(paused ? 'feed.resume' : 'feed.pause')}
        </button>
        <label>
          <input
            type="checkbox"
            checked={filter.isChanging}
            onChange={(event) => setFilter({ ...filter, isChanging: event.target.checked })}
          />
          {t('feed.changing')}
        </label>
      </div>
      {shown.length === 0 && <p className="empty">{t(events.length === 0 ? 'feed.empty' : 'feed.nomatch')}</p>}
      <EventRows events={shown} />
    </>
  );
}

function PastFeed({ at }: { at: string }) {
  const { t } = useText();
  const past = useResource('/living-map/history', { until: at, limit: ROWS }, server);
  return (
    <>
      <p className="muted small">{t('feed.past')}</p>
      <Answer of={past} isKnown={past.data !== null}>
        <EventRows events={past.data?.items ?? []} />
      </Answer>
    </>
  );
}

export function EventRows({ events, isOwn = false }: { events: readonly FeedEvent[]; isOwn?: boolean }) {
  return (
    <ol className="events">
      {events.map((event) => (
        <EventRow key={event.id} event={event} isOwn={isOwn} />
      ))}
    </ol>
  );
}

/** @param isOwn whether the list belongs to one entity, whose name is then omitted */
const EventRow = memo(function EventRow({ event, isOwn }: { event: FeedEvent; isOwn: boolean }) {
  const { clock } = useText();
  const { event_type, timestamp, entity_id, payload } = event;
  const [isOpen, setOpen] = useState(false);
  return (
    <li>
      <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
        <summary>
          <time dateTime={timestamp} title={timestamp}>
            {clock(timestamp)}
          </time>
          <span className="subject">{event_type}</span>
        </summary>
        {isOpen && <pre>{JSON.stringify(payload, null, 1)}</pre>}
      </details>
      {entity_id !== null && !isOwn && <EntityName id={entity_id} />}
    </li>
  );
});

function EntityName({ id }: { id: string }) {
  const item = itemById(useLayers(), id);
  return item ? (
    <EntityLink id={item.id} item={item}>
      {item.label}
    </EntityLink>
  ) : (
    <span className="muted">{id}</span>
  );
}
