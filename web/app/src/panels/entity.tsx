import { type Entity, findEntity, type Snapshot, useEntity, useHistory } from '@living-map/react';
import { useEffect, useMemo } from 'react';
import { countBuckets } from '../density';
import { itemById, type Relation, relationsOf } from '../entities';
import { useEvents, useLayers } from '../live';
import { openEntity } from '../open-entity';
import { BarChart } from '../parts/bars';
import { EntityLink } from '../parts/link';
import { StatusMark } from '../parts/mark';
import { useText } from '../preferences';
import { server } from '../server';
import { useTravel } from '../travel';
import { setView } from '../view';
import { factsOf } from './facts';
import { EventRows, type FeedEvent } from './feed';
import { OpenLessons } from './lessons';

/** Period of the activity chart (ms) and number of its bars. */
const SPAN_MS = 3_600_000;
const BARS = 30;
/** Maximum number of events that the chart counts. */
const HOUR_EVENTS = 1000;
/** Maximum number of relations shown per kind. */
const RELATIONS = 30;

export function EntityPanel({ id }: { id: string }) {
  const { t, maybe } = useText();
  const { at, snapshot } = useTravel();
  const live = useEntity(id, server);
  const entity = at === null ? live : findEntity(snapshot as Snapshot | null, id);
  return (
    <section className="entity" aria-labelledby="entity-title">
      <header>
        <h2 id="entity-title" tabIndex={-1}>
          {entity?.data.name ?? id}
        </h2>
        <button type="button" onClick={() => openEntity(id)}>
          {t('entity.fly')}
        </button>
        <button type="button" className="close" aria-label={t('close')} onClick={() => setView({ entity: null })}>
          ✕
        </button>
      </header>
      {entity ? (
        <p className="row">
          <StatusMark status={entity.data.status} />
          <span className="muted">{maybe(`type.${entity.type}`, entity.type)}</span>
        </p>
      ) : (
        <p className="notice">{t(at === null ? 'entity.unknown' : 'entity.unknown.past', { id })}</p>
      )}
      {entity && <Facts entity={entity} />}
      <Relations id={id} />
      {entity?.type === 'agent' && <OpenLessons agent={id} />}
      <Happened id={id} at={at} />
    </section>
  );
}

function Facts({ entity }: { entity: Entity }) {
  const text = useText();
  return (
    <dl className="facts">
      {factsOf(entity, text).map(({ name, value }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Relations({ id }: { id: string }) {
  const { t } = useText();
  const layers = useLayers();
  const groups = useMemo(() => {
    const item = itemById(layers, id);
    const found = layers && item ? relationsOf(layers, item) : [];
    return [...grouped(found)];
  }, [layers, id]);
  if (groups.length === 0) return null;
  return (
    <>
      <h3>{t('entity.relations')}</h3>
      {groups.map(([relation, members]) => (
        <div key={relation} className="relations">
          <span className="muted">{t(`relation.${relation}`)}</span>
          <ul>
            {members.slice(0, RELATIONS).map(({ item }) => (
              <li key={item.id}>
                <StatusMark status={item.status} isBare />
                <EntityLink id={item.id} item={item}>
                  {item.label}
                </EntityLink>
              </li>
            ))}
            {members.length > RELATIONS && (
              <li className="muted">{t('changes.more', { count: members.length - RELATIONS })}</li>
            )}
          </ul>
        </div>
      ))}
    </>
  );
}

function grouped(relations: readonly Relation[]): Map<Relation['relation'], Relation[]> {
  const groups = new Map<Relation['relation'], Relation[]>();
  for (const found of relations) groups.set(found.relation, [...(groups.get(found.relation) ?? []), found]);
  return groups;
}

function Happened({ id, at }: { id: string; at: string | null }) {
  const { t } = useText();
  // The hour before opening is loaded; later events come from the stream.
  const until = useMemo(() => (at === null ? Date.now() : Date.parse(at)), [at]);
  const range = at === null ? {} : { until: at };
  const { items, hasMore, loadMore, isLoading, error, refetch } = useHistory(
    { entity_id: id, limit: 25, ...range },
    server,
  );
  const since = new Date(until - SPAN_MS).toISOString();
  const hour = useHistory({ entity_id: id, since, limit: HOUR_EVENTS, ...range }, server);
  // A page of large events has fewer than `limit`.
  const { loadMore: loadHour } = hour;
  const isPartial = hour.hasMore && !hour.isLoading && !hour.error && hour.items.length < HOUR_EVENTS;
  useEffect(() => {
    if (isPartial) loadHour();
  }, [isPartial, loadHour]);
  const live = useEvents();
  const events = useMemo(() => {
    const known = new Set(items.map((event) => event.id));
    const own = at === null ? live.filter((event) => event.entity_id === id && !known.has(event.id)) : [];
    return [...own, ...items] as FeedEvent[];
  }, [items, live, id, at]);
  const counts = useMemo(() => {
    const times = hour.items.map(({ timestamp }) => [Date.parse(timestamp), 1] as const);
    return countBuckets(times, until - SPAN_MS, until, BARS);
  }, [hour.items, until]);
  return (
    <>
      <h3>{t('entity.activity')}</h3>
      <BarChart counts={counts} label={t('entity.activity')} />
      <h3>{t('entity.events')}</h3>
      {error && (
        <p className="notice" role="alert">
          {t('failed', { error: error.message })}{' '}
          <button type="button" onClick={refetch}>
            {t('retry')}
          </button>
        </p>
      )}
      <EventRows events={events} isOwn />
      {hasMore && (
        <button type="button" onClick={loadMore} disabled={isLoading}>
          {t('entity.more')}
        </button>
      )}
    </>
  );
}
