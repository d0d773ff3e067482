import { useResource } from '@living-map/react';
import { Suspense, useEffect, useMemo, useState } from 'react';
import { countBuckets } from './density';
import { useAsOf } from './live';
import { BarChart } from './parts/bars';
import { late } from './parts/late';
import { useText } from './preferences';
import type { Span } from './replay/playback';
import { server } from './server';
import {
  go,
  live,
  pause,
  play,
  SPEEDS,
  setBackwards,
  setLoop,
  setSpeed,
  step,
  type TravelError,
  useTravel,
} from './travel';
import { IconButton } from './ui/button';
import { Icon } from './ui/icon';
import { setView } from './view';

/** Loaded after the map. */
const Markers = late(async () => ({ default: (await import('./replay/markers')).Markers }));

/** Ranges of the scrubber: name, length (s), and bucket width of the histogram. */
const WINDOWS = [
  ['15m', 900, '15s'],
  ['1h', 3600, '1m'],
  ['6h', 21_600, '5m'],
  ['24h', 86_400, '20m'],
  ['7d', 604_800, '2h'],
] as const;
type Window = (typeof WINDOWS)[number];

const STEPS = 1000;
/** Interval at which the end of the range follows the clock (ms). */
const FOLLOW_MS = 10_000;
/** Start of the playback from live: this fraction of the range before now. */
const PLAY_FROM = 0.25;
/** Delay after which the marks are loaded, so that they do not delay the first picture (ms). */
const MARKS_MS = 2000;

export function TimeBar() {
  const { t, clock } = useText();
  const { at, isLoading, isWaiting, error, clampedTo, isPlaying, speed, isBackwards, loop } = useTravel();
  const [chosen, setChosen] = useState<Window>(WINDOWS[0]);
  const [, seconds, bucket] = chosen;
  const now = useClock();
  const time = at === null ? now : Date.parse(at);
  const range = useRange(time, now, seconds * 1000);
  const { from: since, to: end } = range;
  const span = end - since;
  const density = useDensity(since, end, bucket);
  const position = (moment: number) => Math.min(1, Math.max(0, (moment - since) / span));
  const asOf = useAsOf();
  const present = asOf === null ? t('time.now') : t('asof', { time: clock(asOf) });
  const moment = at === null ? present : clock(time, true);
  return (
    <section className="time" aria-label={t('time')}>
      {at !== null && (
        <IconButton isBare icon="stepBack" label={t('time.previous')} onClick={() => step(-1)} className="secondary" />
      )}
      <button
        type="button"
        className="play"
        aria-label={t(isPlaying ? 'time.pause' : 'time.play')}
        title={`${t(isPlaying ? 'time.pause' : 'time.play')} (P)`}
        onClick={() => (isPlaying ? pause() : play(now - span * PLAY_FROM))}
      >
        <Icon name={isPlaying ? 'pause' : 'play'} />
      </button>
      {at !== null && (
        <IconButton isBare icon="step" label={t('time.next')} onClick={() => step(1)} className="secondary" />
      )}
      <label>
        <span className="unseen">{t('time.speed')}</span>
        <select value={speed} title={t('time.speed')} onChange={(event) => setSpeed(Number(event.target.value))}>
          {SPEEDS.map((value) => (
            <option key={value} value={value}>
              ×{value}
            </option>
          ))}
        </select>
      </label>
      {at !== null && (
        <>
          <IconButton
            isBare
            icon="backwards"
            label={t('time.backwards')}
            aria-pressed={isBackwards}
            onClick={() => setBackwards(!isBackwards)}
            className="secondary"
          />
          <IconButton
            isBare
            icon="loop"
            label={t('time.loop')}
            aria-pressed={loop !== null}
            onClick={() => setLoop(loop === null ? { from: since, to: Math.min(end, Date.now()) } : null)}
            className="secondary"
          />
        </>
      )}
      <div className="scrubber">
        {loop && (
          <div
            className="loop"
            style={{
              left: `${position(loop.from) * 100}%`,
              width: `${(position(loop.to) - position(loop.from)) * 100}%`,
            }}
          />
        )}
        <BarChart counts={density} label={t('time.density')} />
        <Marks span={range} />
        <input
          type="range"
          min={0}
          max={STEPS}
          value={Math.round(position(time) * STEPS)}
          aria-label={t('time.position')}
          aria-valuetext={moment}
          onChange={(event) => {
            pause();
            const step = Number(event.target.value);
            if (step >= STEPS && end === now) live();
            else go(since + (step / STEPS) * span, at === null);
          }}
        />
        <p className="scale" aria-hidden="true">
          <span>{clock(since, span > 43_200_000)}</span>
          <span>{clock(end, span > 43_200_000)}</span>
        </p>
      </div>
      <label>
        <span className="unseen">{t('time.window')}</span>
        <select
          value={chosen[0]}
          title={t('time.window')}
          onChange={(event) => setChosen(WINDOWS.find(([name]) => name === event.target.value) ?? WINDOWS[0])}
        >
          {WINDOWS.map(([name]) => (
            <option key={name} value={name}>
              {t(`time.window.${name}`)}
            </option>
          ))}
        </select>
      </label>
      <p className="moment" data-past={at !== null} aria-busy={isLoading || isWaiting}>
        {moment}
        {isWaiting && <span className="unseen"> {t('time.waiting')}</span>}
      </p>
      {at !== null && (
        <>
          <button type="button" onClick={() => setView({ panel: 'changes' })}>
            {t('time.changes')}
          </button>
          <button type="button" className="primary" onClick={live}>
            {t('time.live')}
          </button>
        </>
      )}
      {clampedTo !== null && (
        <p className="notice" role="status">
          {t('time.begins', { time: clock(clampedTo, true) })}
        </p>
      )}
      {error && <Failure error={error} onRetry={() => play(time)} />}
    </section>
  );
}

function Failure({ error, onRetry }: { error: TravelError; onRetry: () => void }) {
  const { t } = useText();
  const { what, text } = error;
  return (
    <p className="notice" role="alert">
      {t(what === 'moment' ? 'time.failed' : `time.failed.${what}`, { error: text })}{' '}
      {what === 'events' && (
        <button type="button" onClick={onRetry}>
          {t('retry')}
        </button>
      )}
    </p>
  );
}

function Marks({ span }: { span: Span }) {
  const [isDue, setDue] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setDue(true), MARKS_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    isDue && (
      <Suspense>
        <Markers span={span} />
      </Suspense>
    )
  );
}

/** The displayed range: the newest, or around a moment before it, where it stays until the moment leaves it. */
function useRange(time: number, now: number, span: number): Span {
  const [anchor, setAnchor] = useState<number | null>(null);
  const to = anchor ?? now;
  if (time < to - span || time > to) {
    const next = time >= now - span ? null : time + span / 2;
    if (next !== anchor) setAnchor(next);
  }
  return useMemo(() => ({ from: to - span, to }), [to, span]);
}

/** Current time, updated periodically. */
function useClock(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), FOLLOW_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}

function useDensity(since: number, until: number, bucket: string): number[] {
  const range = { since: new Date(since).toISOString(), until: new Date(until).toISOString() };
  const { data } = useResource('/living-map/history/aggregate', { ...range, bucket, limit: 1 }, server);
  return useMemo(() => {
    const half = (data?.bucket_seconds ?? 0) * 500;
    const counts = (data?.buckets ?? []).map((start, at) => {
      const all = [...(data?.series ?? []), ...(data?.other ? [data.other] : [])];
      // Server buckets start at whole multiples of their width; their middle determines the bar.
      return [Date.parse(start) + half, all.reduce((sum, { counts: own }) => sum + (own[at] ?? 0), 0)] as const;
    });
    return countBuckets(counts, since, until, half > 0 ? Math.round((until - since) / 2 / half) : 1);
  }, [data, since, until]);
}
