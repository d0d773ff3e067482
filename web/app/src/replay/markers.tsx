/** Marks on the time line: alerts, lessons, changes of configuration. */

import { get, type HistoryItem } from '@living-map/react';
import { type KeyboardEvent, useEffect, useMemo, useState } from 'react';
import { itemById } from '../entities';
import type { Text } from '../i18n/text';
import { useLayers } from '../live';
import { useText } from '../preferences';
import { server } from '../server';
import { go, pause } from '../travel';
import { Tip } from '../ui/tooltip';
import { sentenceOfEvent } from '../words/sentence';
import { clusters, MARK_KINDS, type Mark, type MarkKind } from './cluster';
import type { Span } from './playback';

/** Subjects of the marked events. */
const SUBJECTS: Readonly<Record<MarkKind, readonly string[]>> = {
  alert: ['living_map.alert.raised', 'ops.alert.>'],
  lesson: ['agent.lesson.v1'],
  change: [
    'config.updated.>',
    'policy.updated.>',
    'prompt.updated.>',
    'agent.event.model_changed',
    'agent.event.prompt_changed',
    'agent.event.tools_changed',
    'microdao.event.settings_updated',
  ],
};
/** Newest events of each subject. */
const LIMIT = 50;
/** The range moves with the clock; it is loaded again at this interval (ms). */
const REFRESH_MS = 60_000;
/** Smallest distance of two marks, as a part of the range. */
const GAP = 0.012;
/** Texts listed on a mark of several events. */
const LISTED = 3;

type Found = Pick<HistoryItem, 'event_type' | 'entity_id' | 'payload' | 'timestamp'> & { kind: MarkKind };

export function Markers({ span }: { span: Span }) {
  const text = useText();
  const { t, clock } = text;
  const layers = useLayers();
  const found = useMarked(span);
  const groups = useMemo(() => {
    const marks = found.map(({ kind, timestamp, ...event }): Mark => {
      const named = plain(event, text, (id) => itemById(layers, id)?.label ?? id);
      return { kind, time: Date.parse(timestamp), text: named };
    });
    return clusters(marks, span, GAP);
  }, [found, span, text, layers]);
  // One tab stop: the arrow keys move between marks.
  const [current, setCurrent] = useState(0);
  const active = Math.min(current, groups.length - 1);
  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = Math.min(groups.length - 1, Math.max(0, active + step));
    setCurrent(next);
    event.currentTarget.querySelectorAll('button')[next]?.focus();
  };
  if (groups.length === 0) return null;
  return (
    <div className="markers" role="toolbar" aria-label={t('time.marks')} onKeyDown={onKeyDown}>
      {groups.map(({ marks, position }, at) => {
        // Alerts first: the label names only some marks of a group, and a click leads to the first one.
        const sorted = marks.toSorted((a, b) => MARK_KINDS.indexOf(a.kind) - MARK_KINDS.indexOf(b.kind));
        const [first] = sorted;
        if (!first) return null;
        const { kind } = first;
        const texts = sorted.slice(0, LISTED).map((mark) => `${clock(mark.time, true)} ${mark.text}`);
        if (marks.length > LISTED) texts.push(t('changes.more', { count: marks.length - LISTED }));
        const label = texts.join('; ');
        return (
          <Tip key={`${first.time} ${first.text}`} text={label}>
            <button
              type="button"
              className="marker"
              data-kind={kind}
              style={{ left: `${position * 100}%` }}
              tabIndex={at === active ? 0 : -1}
              aria-label={`${t(`time.mark.${kind}`)}: ${label}`}
              onFocus={() => setCurrent(at)}
              onClick={() => {
                pause();
                go(first.time);
              }}
            />
          </Tip>
        );
      })}
    </div>
  );
}

/** An event's sentence as text. */
function plain(event: Omit<Found, 'kind' | 'timestamp'>, text: Text, nameOf: (id: string) => string): string {
  const { parts } = sentenceOfEvent(event, text);
  return parts.map((part) => ('text' in part ? part.text : nameOf(part.entity))).join('');
}

function useMarked({ from, to }: Span): readonly Found[] {
  const [found, setFound] = useState<readonly Found[]>([]);
  const [since, until] = [from, to].map((time) => Math.floor(time / REFRESH_MS) * REFRESH_MS) as [number, number];
  useEffect(() => {
    const controller = new AbortController();
    load(since, until + REFRESH_MS, controller.signal).then((events) => {
      if (!controller.signal.aborted) setFound(events);
    });
    return () => controller.abort();
  }, [since, until]);
  return found;
}

/** The marked events of a span; those of a subject that cannot be loaded are missing. */
async function load(from: number, to: number, signal: AbortSignal): Promise<Found[]> {
  const range = { since: new Date(from).toISOString(), until: new Date(to).toISOString(), limit: LIMIT };
  const requests = MARK_KINDS.flatMap((kind) =>
    SUBJECTS[kind].map(async (event_type) => {
      const { items } = await get(server.url, '/living-map/history', { ...range, event_type }, signal);
      return items.map((item) => ({ ...item, kind }));
    }),
  );
  const answers = await Promise.allSettled(requests);
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
}
