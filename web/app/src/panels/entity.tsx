import { type Entity, findEntity, type Snapshot, useEntity, useHistory } from '@living-map/react';
import { Suspense, useEffect, useMemo } from 'react';
import { countBuckets } from '../density';
import { itemById, type Relation, relationsOf } from '../entities';
import { useEvents, useLayers, useNetwork } from '../live';
import { closeEntity, openEntity } from '../open-entity';
import { AsOf } from '../parts/as-of';
import { BarChart } from '../parts/bars';
import { DockButton } from '../parts/dock-button';
import { late } from '../parts/late';
import { EntityLink } from '../parts/link';
import { useText } from '../preferences';
import { server } from '../server';
import { useTravel } from '../travel';
import { IconButton } from '../ui/button';
import { Icon, type IconName } from '../ui/icon';
import { ConditionPill, Mark } from '../ui/mark';
import { ScrollArea } from '../ui/scroll-area';
import { Tiles } from '../ui/tile';
import { EventRows, type FeedEvent } from './event-rows';
import { factsOf } from './facts';
import { EntityProblems } from './problems';

const OpenLessons = late(async () => ({ default: (await import('./lessons')).OpenLessons }));

/** Period of the activity chart (ms) and number of its bars. */
const SPAN_MS = 3_600_000;
const BARS = 30;
/** Maximum number of events that the chart counts. */
const HOUR_EVENTS = 1000;
/** Maximum number of relations shown per kind. */
const RELATIONS = 30;

const icons: Record<string, IconName> = {
  agent: 'agents',
  node: 'nodes',
  dao: 'space',
  microdao: 'city',
  channel: 'letters',
};

export function EntityPanel({ id }: { id: string }) {
  const { t, maybe } = useText();
  const { at, restingAt } = useTravel();
  const layers = useLayers();
  const { conditionOf } = useNetwork();
  const live = useEntity(id, server);
  const entity = at === null ? live : layers && findEntity({ layers } as Snapshot, id);
  return (
    <section className="sheet entity" aria-labelledby="entity-title">
      <header>
        <span className="sheet-icon" data-tone={entity ? conditionOf(id) : 'idle'}>
          <Icon name={icons[entity?.type ?? ''] ?? 'map'} />
        </span>
        <div className="sheet-title">
          <h2 id="entity-title" tabIndex={-1}>
            {entity?.data.name ?? id}
          </h2>
          <p className="muted">
            {entity && maybe(`type.${entity.type}`, entity.type)}
            <Home id={id} />
          </p>
          <AsOf />
        </div>
        {entity && <ConditionPill condition={conditionOf(id)} />}
        <DockButton />
        <IconButton isBare icon="show" label={t('entity.fly')} onClick={() => openEntity(id)} />
        <IconButton isBare icon="close" label={t('close')} onClick={closeEntity} />
      </header>
      <ScrollArea labelledBy="entity-title">
        {!entity && <p className="notice">{t(at === null ? 'entity.unknown' : 'entity.unknown.past', { id })}</p>}
        <EntityProblems id={id} />
        {entity && <Facts entity={entity} />}
        <Relations id={id} />
        <Suspense>{entity?.type === 'agent' && <OpenLessons agent={id} />}</Suspense>
        <Happened id={id} at={restingAt} />
      </ScrollArea>
    </section>
  );
}

/** The microDAO that an entity belongs to. */
function Home({ id }: { id: string }) {
  const layers = useLayers();
  const item = itemById(layers, id);
  const home = item?.microdaoId && item.microdaoId !== id ? itemById(layers, item.microdaoId) : null;
  return (
    home && (
      <>
        {' · '}
        <EntityLink id={home.id} item={home}>
          {home.label}
        </EntityLink>
      </>
    )
  );
}

function Facts({ entity }: { entity: Entity }) {
  const text = useText();
  const facts = factsOf(entity, text);
  return (
    <>
      <Tiles figures={facts.filter(({ isFigure }) => isFigure)} />
      <dl className="facts">
        {facts
          .filter(({ isFigure }) => !isFigure)
          .map(({ name, value }) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
    </>
  );
}

function Relations({ id }: { id: string }) {
  const { t } = useText();
  const layers = useLayers();
  const { conditionOf } = useNetwork();
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
                <Mark condition={conditionOf(item.id)} isBare />
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
  const { recent } = useTravel();
  const events = useMemo(() => {
    const known = new Set(items.map((event) => event.id));
    const own = (at === null ? live : recent).filter((event) => event.entity_id === id && !known.has(event.id));
    return [...own, ...items] as FeedEvent[];
  }, [items, live, recent, id, at]);
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
      <EventRows events={events} />
      {hasMore && (
        <button type="button" onClick={loadMore} disabled={isLoading}>
          {t('entity.more')}
        </button>
      )}
    </>
  );
}
