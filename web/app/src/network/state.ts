/**
 * State of the network, derived from the displayed map once for all views: the condition of each entity and district, and
 * the problems in order. Header, legend, filters, scene and tables read it, so that they agree.
 */

import type { Alert, Layers, SourceHealth } from '@living-map/react';
import { allEntities, type Item } from '../entities';
import { isSilenced } from '../silences';
import { CONDITIONS, type Condition, conditionOfStatus, isTrouble, type Trouble, worse } from './condition';

/** An entity with an event of its own in this time before the displayed moment is working (ms). */
const WORKING_MS = 60_000;

/** Something that needs attention: an alert, a status, a text on a node, or an upstream that does not answer. */
export interface Problem {
  readonly trouble: Trouble;
  /** The entity concerned, if there is one. */
  readonly item: Item | null;
  readonly alert: Alert | null;
  readonly source: SourceHealth | null;
  /** Texts that a node reports. */
  readonly texts: readonly string[];
  /** Time since when it is known (ms); `null`: unknown. */
  readonly since: number | null;
  readonly isSilenced: boolean;
}

export interface NetworkState {
  /** Displayed moment (ms). */
  readonly moment: number;
  readonly conditionOf: (id: string) => Condition;
  /** Worst trouble of a microDAO and everything in it. */
  readonly troubleIn: (microdaoId: string) => Trouble | null;
  /** Number of entities by condition, of the whole map. */
  readonly counts: Readonly<Record<Condition, number>>;
  /** Problems: failing before warning, silenced ones last in each, then newest first. */
  readonly problems: readonly Problem[];
  readonly agents: { readonly total: number; readonly working: number };
}

export const noCounts = (): Record<Condition, number> => ({ failing: 0, warning: 0, away: 0, working: 0, idle: 0 });

export function networkState(layers: Layers | null, sources: readonly SourceHealth[], moment: number): NetworkState {
  const alerts = alertsByEntity(layers);
  const active = activeEntities(layers, moment);
  const nodeTexts = new Map(layers?.nodes?.items.map(({ id, alerts: texts }) => [id, texts]));
  const conditions = new Map<string, Condition>();
  const districts = new Map<string, Trouble>();
  const counts = noCounts();
  const problems: Problem[] = [];
  const agents = { total: 0, working: 0 };
  for (const item of allEntities(layers)) {
    const own = alerts.get(item.id) ?? [];
    const texts = nodeTexts.get(item.id) ?? [];
    const condition = conditionOf(item, own, texts, active.has(item.id));
    conditions.set(item.id, condition);
    counts[condition] += 1;
    if (item.type === 'agent') {
      agents.total += 1;
      if (condition === 'working') agents.working += 1;
    }
    if (!isTrouble(condition)) continue;
    const district = item.microdaoId;
    if (district !== null) districts.set(district, worse(districts.get(district) ?? condition, condition) as Trouble);
    problems.push(...problemsOf(item, condition, own, texts, moment));
  }
  for (const alert of layers?.city?.alerts ?? []) {
    const isKnown = alert.entity_id !== null && conditions.has(alert.entity_id);
    const trouble = troubleOf(alert);
    if (!isKnown && trouble) problems.push(problemOf(trouble, null, { alert, moment }));
  }
  for (const source of sources) {
    const trouble = source.status === 'down' ? 'failing' : source.status === 'stale' ? 'warning' : null;
    if (trouble) problems.push({ ...problemOf(trouble, null, { moment }), source, since: lastAnswer(source) });
  }
  return {
    moment,
    conditionOf: (id) => conditions.get(id) ?? 'idle',
    troubleIn: (id) => districts.get(id) ?? null,
    counts,
    problems: problems.sort(byUrgency),
    agents,
  };
}

function conditionOf(item: Item, alerts: readonly Alert[], texts: readonly string[], isActive: boolean): Condition {
  let condition = conditionOfStatus(item.status);
  // An entity that is away does not work, however recent its last event is.
  if (condition === 'idle' && isActive) condition = 'working';
  if (texts.length > 0) condition = worse(condition, 'warning');
  for (const alert of alerts) condition = worse(condition, troubleOf(alert) ?? condition);
  return condition;
}

const troubleOf = ({ severity }: Alert): Trouble | null =>
  severity === 'critical' ? 'failing' : severity === 'warning' ? 'warning' : null;

function alertsByEntity(layers: Layers | null): Map<string, Alert[]> {
  const found = new Map<string, Alert[]>();
  for (const alert of layers?.city?.alerts ?? []) {
    if (alert.entity_id === null) continue;
    found.set(alert.entity_id, [...(found.get(alert.entity_id) ?? []), alert]);
  }
  return found;
}

/** Entities with an open run, or with an event of their own shortly before the displayed moment, and their microDAOs. */
function activeEntities(layers: Layers | null, moment: number): Set<string> {
  const isRecent = (time: string | null | undefined) => {
    const age = time ? moment - Date.parse(time) : Number.NaN;
    return age < WORKING_MS;
  };
  const active = new Set<string>();
  for (const { id, microdao_id, current_run, last_active } of layers?.agents?.items ?? []) {
    if (!current_run && !isRecent(last_active)) continue;
    active.add(id);
    if (microdao_id !== null) active.add(microdao_id);
  }
  for (const { id, last_seen } of layers?.nodes?.items ?? []) if (isRecent(last_seen)) active.add(id);
  for (const { id, last_active } of layers?.city?.channels ?? []) if (isRecent(last_active)) active.add(id);
  return active;
}

function problemsOf(
  item: Item,
  condition: Trouble,
  alerts: readonly Alert[],
  texts: readonly string[],
  moment: number,
): Problem[] {
  const raised = alerts.flatMap((alert) => {
    const trouble = troubleOf(alert);
    // An alert explains the status, which may be worse.
    const worst = trouble && worse(trouble, conditionOfStatus(item.status));
    return worst && isTrouble(worst) ? [problemOf(worst, item, { alert, texts, moment })] : [];
  });
  // Without an alert, the status is the problem.
  return raised.length > 0 ? raised : [problemOf(condition, item, { texts, moment })];
}

function problemOf(
  trouble: Trouble,
  item: Item | null,
  { alert = null, texts = [], moment }: { alert?: Alert | null; texts?: readonly string[]; moment: number },
): Problem {
  const since = alert === null ? null : Date.parse(alert.raised_at);
  return { trouble, item, alert, source: null, texts, since, isSilenced: alert !== null && isSilenced(alert, moment) };
}

const lastAnswer = ({ last_success_at }: SourceHealth) => (last_success_at ? Date.parse(last_success_at) : null);

function byUrgency(a: Problem, b: Problem): number {
  return (
    CONDITIONS.indexOf(a.trouble) - CONDITIONS.indexOf(b.trouble) ||
    Number(a.isSilenced) - Number(b.isSilenced) ||
    (b.since ?? 0) - (a.since ?? 0)
  );
}
