/** The state sentence of the header, written by rules: the worst problem, since when, and what depends on it. */

import type { Layers, MapState } from '@living-map/react';
import { type Text, textOf } from '../i18n/text';
import { alertTitle } from '../words/alert-text';
import { serverText } from '../words/server-text';
import type { Condition } from './condition';
import type { NetworkState, Problem } from './state';

export type Tone = Condition | 'past' | 'lost' | 'loading';

/** Where the sentence leads: an entity, or a panel. */
export type Lead = { readonly entity: string } | { readonly panel: 'alerts' | 'health' };

export interface Sentence {
  readonly tone: Tone;
  readonly headline: string;
  readonly detail: string;
  readonly lead: Lead | null;
}

export interface Circumstances {
  readonly layers: Layers | null;
  readonly connection: MapState['connectionStatus'];
  /** Whether the live map is not followed any more. */
  readonly isLost: boolean;
  /** Displayed moment of time travel; `null`: live. */
  readonly at: string | null;
}

export function sentenceOf(
  state: NetworkState,
  { layers, connection, isLost, at }: Circumstances,
  text: Text,
): Sentence {
  const { t, clock } = text;
  if (layers === null && at === null && connection === 'connecting')
    return { tone: 'loading', headline: t('state.loading'), detail: '', lead: null };
  const [worst, ...others] = state.problems.filter(({ isSilenced }) => !isSilenced);
  const told = worst ? troubleSentence(worst, others, state, layers, text) : quietSentence(state, text);
  if (isLost) {
    const time = clock(state.moment);
    return { ...told, tone: 'lost', headline: t('state.lost', { time }), detail: worst ? told.headline : '' };
  }
  if (at !== null && worst === undefined) return { ...told, tone: 'past' };
  return told;
}

function quietSentence({ agents, counts }: NetworkState, { t }: Text): Sentence {
  const headline = t('state.quiet');
  const detail =
    agents.total === 0
      ? t('state.quiet.none')
      : `${t('state.quiet.agents', { count: agents.total })}, ${t('state.quiet.working', { count: agents.working })}`;
  return { tone: counts.working > 0 ? 'working' : 'idle', headline, detail, lead: null };
}

function troubleSentence(
  worst: Problem,
  others: readonly Problem[],
  state: NetworkState,
  layers: Layers | null,
  text: Text,
): Sentence {
  const { t } = text;
  const details = [reasonOf(worst, layers, text), dependentsOf(worst, layers, state, text), othersOf(others, text)];
  const name = worst.item?.label ?? worst.source?.service ?? (worst.alert ? alertTitle(worst.alert, layers, text) : '');
  const key = worst.source ? (`state.source.${worst.trouble}` as const) : (`state.${worst.trouble}` as const);
  const isUnplaced = worst.item === null && worst.source === null;
  return {
    tone: worst.trouble,
    headline: isUnplaced ? `${name}.` : t(key, { name }),
    detail: details.filter(Boolean).join(' '),
    lead: worst.item ? { entity: worst.item.id } : { panel: worst.source ? 'health' : 'alerts' },
  };
}

function reasonOf({ alert, source, since, texts, item, trouble }: Problem, layers: Layers | null, text: Text): string {
  const { t, clock } = text;
  const time = since === null ? null : clock(since);
  if (source) return time === null ? t('state.source.never') : t('state.source.asof', { time });
  const title = alert ? alertTitle(alert, layers, text) : serverText(texts[0] ?? '', layers, text);
  const says = (language: Text) => language.t(`state.${trouble}`, { name: item?.label ?? '' }).replace(/\.$/, '');
  // A title that repeats the headline is no reason.
  const reason = title === '' || title === says(text) || title === says(textOf('en')) ? null : title;
  // An alert without an entity is the headline itself.
  if (item === null || reason === null) return time === null ? '' : t('state.since', { time });
  return time === null ? `${reason}.` : t('state.reason', { reason, time });
}

function dependentsOf({ item }: Problem, map: Layers | null, state: NetworkState, { t }: Text): string {
  if (item === null) return '';
  if (item.type === 'microdao') {
    const count = (map?.agents?.items ?? []).filter(({ microdao_id }) => microdao_id === item.id).length;
    return count > 0 ? t('state.depend.agents', { count }) : '';
  }
  if (item.type === 'node') {
    const count = map?.nodes?.items.find(({ id }) => id === item.id)?.agents ?? 0;
    return count > 0 ? t('state.depend.agents', { count }) : '';
  }
  const home = map?.city?.items.find(({ id }) => id === item.microdaoId);
  return home && state.troubleIn(home.id) ? t('state.depend.home', { name: home.name }) : '';
}

function othersOf(rest: readonly Problem[], { t }: Text): string {
  return rest.length === 0 ? '' : t('state.others', { count: rest.length });
}
