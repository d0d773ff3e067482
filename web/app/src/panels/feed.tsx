import { type EventFrame, type HistoryItem, useResource } from '@living-map/react';
import { useMemo, useState } from 'react';
import { useEvents } from '../live';
import { Answer } from '../parts/answer';
import { useText } from '../preferences';
import { server } from '../server';
import { useTravel } from '../travel';
import { StateBox } from '../ui/state-box';
import { setView, useView } from '../view';
import { EventRows, type FeedEvent } from './event-rows';
import { type FeedFilter, matchesEvent } from './feed-filter';

/** Maximum number of rows; older events are in the history. */
const ROWS = 60;

export function Feed() {
  const { restingAt } = useTravel();
  return restingAt === null ? <LiveFeed /> : <PastFeed at={restingAt} />;
}

function LiveFeed() {
  const { t } = useText();
  const streamed = useEvents();
  // What happened before the page was opened.
  const history = useResource('/living-map/history', { limit: ROWS }, server);
  const before = history.data;
  const events = useMemo(() => joined(streamed, before?.items ?? []), [streamed, before]);
  const { feed: filter } = useView();
  const setFilter = (feed: FeedFilter) => setView({ feed }, false);
  const [paused, setPaused] = useState<readonly LiveEvent[] | null>(null);
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
      {/* Without the history, an empty stream does not mean that there are no events. */}
      <Answer of={history} isKnown={before !== null || events.length > 0}>
        {shown.length === 0 && (
          <StateBox icon="events">{t(events.length === 0 ? 'feed.empty' : 'feed.nomatch')}</StateBox>
        )}
        <EventRows events={shown} />
      </Answer>
    </>
  );
}

type LiveEvent = FeedEvent & Pick<EventFrame, 'changes'>;

/** Streamed events, then those of the history before them. */
function joined(streamed: readonly EventFrame[], before: readonly HistoryItem[]): LiveEvent[] {
  const known = new Set(streamed.map(({ id }) => id));
  return [...streamed, ...before.filter(({ id }) => !known.has(id)).map((item) => ({ ...item, changes: [] }))];
}

function PastFeed({ at }: { at: string }) {
  const { t } = useText();
  const { recent } = useTravel();
  const past = useResource('/living-map/history', { until: at, limit: ROWS }, server);
  const events = useMemo(() => joined(recent, past.data?.items ?? []).slice(0, ROWS), [recent, past.data]);
  return (
    <>
      <p className="muted small">{t('feed.past')}</p>
      <Answer of={past} isKnown={past.data !== null}>
        {events.length === 0 && <p className="empty">{t('feed.past.empty')}</p>}
        <EventRows events={events} />
      </Answer>
    </>
  );
}
