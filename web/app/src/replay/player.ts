/**
 * Shows the selected moment of the past and plays from it: applies the recorded events at the selected speed, forwards and
 * backwards. They are downloaded in pages ahead of it.
 */

import { statusOf } from '../server';
import { ripples } from '../signals';
import { touchedBy } from '../touched';
import { getView, setView } from '../view';
import { loadBefore, loadFrames, loadMoment, oldestTime } from './loader';
import { advance, type Span } from './playback';
import { Recording, wholeMs } from './recording';
import { errorText, getTravel, setTravel } from './state';

/** Interval between updates of the displayed moment (ms). */
const UPDATE_MS = 100;
/** Interval between updates of the address while playing; browsers limit their number (ms). */
const ADDRESS_MS = 1000;
/** Longest time of one step, e.g. after the tab was hidden (ms). */
const MAX_STEP_MS = 1000;
/** Events are loaded this long before they are played (ms of playback, ms of the log). */
const AHEAD_PLAYED_MS = 8000;
const AHEAD_MS = 10_000;
/** Span that is loaded before the begin when playing backwards (ms of playback, ms of the log). */
const BEFORE_PLAYED_MS = 20_000;
const BEFORE_MS = 60_000;
const MAX_BEFORE_MS = 3_600_000;
/** Interval between requests for new events at the end of the log (ms). */
const NEWEST_MS = 1000;
/** Time for which the begin of the log is announced during playback (ms). */
const NOTICE_MS = 8000;
/** Limits of the recording: farther pages are removed, and loaded again when needed. */
const MAX_FRAMES = 50_000;
const MAX_SIZE = 64 << 20;
/** Maximum number of recent events, and of events shown as ripples per update. */
const RECENT = 60;

/** Cancels the requests of the recording. */
let requests = new AbortController();
let recording: Recording | null = null;
/** The displayed event of the recording, and the exact moment (ms). */
let ordinal = 0;
let time = 0;
/** Begin of the log (ms), once it is known. */
let oldest = Number.NEGATIVE_INFINITY;
/** The running request for more frames. */
let loading: Promise<void> | null = null;
/** Time of the last answer that reached the end of the log. */
let newestAt = Number.NEGATIVE_INFINITY;
/** Moment in the address that the playback wrote, and when. */
let written: string | null = null;
let writtenAt = 0;
/** Time at which the begin of the log was shown instead of an earlier moment. */
let clampedAt = 0;
let frame = 0;
/** Time of the last update. */
let updatedAt = 0;

/** Shows the moment of the address. */
export function follow(at: string | null): void {
  if (at !== null && at === written) return;
  written = null;
  if (at === null) {
    leave();
    return;
  }
  const wanted = Date.parse(at);
  if (recording?.covers(wanted)) {
    requests.abort();
    renew();
    setTravel({ clampedTo: null });
    showMoment(wanted, at);
  } else load(at);
}

/** Ends time travel. */
function leave() {
  cancelAnimationFrame(frame);
  requests.abort();
  recording = null;
  const rest = { isLoading: false, error: null, clampedTo: null, isPlaying: false, isWaiting: false, loop: null };
  setTravel({ ...rest, at: null, restingAt: null, layers: null, recent: [] });
}

function renew() {
  requests = new AbortController();
  loading = null;
}

async function load(at: string) {
  requests.abort();
  renew();
  const { signal } = requests;
  const clampedTo = getTravel().clampedTo === at ? at : null;
  setTravel({ at, restingAt: at, isLoading: true, isWaiting: false, error: null, clampedTo });
  try {
    const moment = await loadMoment(at, signal);
    if (signal.aborted) return;
    recording = new Recording(moment);
    newestAt = Number.NEGATIVE_INFINITY;
    showMoment(moment.time, at);
  } catch (error) {
    if (signal.aborted) return;
    const begin = oldestTime(error);
    if (begin !== null && begin !== at) {
      oldest = wholeMs(begin);
      clampedAt = performance.now();
      const { loop } = getTravel();
      setTravel({ clampedTo: begin, loop: loop && { ...loop, from: Math.max(loop.from, oldest) } });
      setView({ at: begin }, false);
      return;
    }
    stop();
    recording = null;
    setTravel({ layers: null, recent: [], isLoading: false, error: { what: 'moment', text: errorText(error) } });
  }
}

/** Shows a moment that the recording covers. */
function showMoment(moment: number, at: string) {
  if (!recording) return;
  time = moment;
  ordinal = recording.ordinalAt(moment);
  setTravel({ at, restingAt: at, isLoading: false, error: null, ...shown(recording) });
}

const shown = (of: Recording) => ({ layers: of.layersAt(ordinal), recent: of.framesBefore(ordinal, RECENT) });

const iso = (moment: number) => new Date(moment).toISOString();

/** Loads the events that the playback needs next. */
function loadMore() {
  if (loading || !recording) return;
  const isNeeded = getTravel().isBackwards ? needsBefore(recording) : needsAfter(recording);
  if (isNeeded) request(getTravel().isBackwards ? before : after);
}

function needsAfter({ end }: Recording) {
  const ahead = Math.max(AHEAD_MS, AHEAD_PLAYED_MS * getTravel().speed);
  return end.time - time < ahead && Date.now() - newestAt > NEWEST_MS;
}

function needsBefore({ begin }: Recording) {
  const ahead = Math.max(AHEAD_MS, AHEAD_PLAYED_MS * getTravel().speed);
  return time - begin.time < ahead && begin.time > oldest;
}

/** Runs a request for frames; one at a time. */
function request(load: (of: Recording, signal: AbortSignal) => Promise<void>): Promise<void> {
  const { signal } = requests;
  const of = recording;
  if (!of) return Promise.resolve();
  const run = async () => {
    try {
      await load(of, signal);
      if (!signal.aborted) of.trim(ordinal, MAX_FRAMES, MAX_SIZE);
    } catch (error) {
      if (signal.aborted) return;
      stop();
      setTravel({ error: { what: statusOf(error) === 410 ? 'gone' : 'events', text: errorText(error) } });
    } finally {
      if (!signal.aborted) loading = null;
    }
  };
  loading = run();
  return loading;
}

async function after(of: Recording, signal: AbortSignal) {
  const asked = Date.now();
  const { items, next } = await loadFrames(of.end.cursor, signal);
  if (signal.aborted) return;
  if (next === null) newestAt = Date.now();
  // All events until the request are loaded, if this was the last page.
  of.append(items, next, next === null ? asked : undefined);
}

async function before(of: Recording, signal: AbortSignal) {
  const span = Math.min(MAX_BEFORE_MS, Math.max(BEFORE_MS, BEFORE_PLAYED_MS * getTravel().speed));
  const found = await loadBefore(of.begin, span, signal);
  if (signal.aborted || !found) return;
  if (found.isOldest) oldest = Math.min(found.moment.time, of.begin.time);
  // Meanwhile the log may begin later than the recording.
  if (found.moment.time < of.begin.time) of.prepend(found.moment, found.items);
}

/** Continues the playback; called for each frame of the screen. */
function tick(now: number) {
  frame = requestAnimationFrame(tick);
  if (now - updatedAt < UPDATE_MS) return;
  const elapsed = Math.min(now - updatedAt, MAX_STEP_MS);
  updatedAt = now;
  if (getTravel().isLoading || !recording) return;
  loadMore();
  const { begin, end } = recording;
  const { speed, loop, isBackwards } = getTravel();
  const pace = { time, speed, direction: isBackwards ? (-1 as const) : (1 as const), loop };
  const covered = { from: begin.time, to: end.time };
  const next = advance(pace, elapsed, covered, { from: oldest, to: presentOf(recording) });
  if (next.state === 'ended' && !isBackwards) {
    setView({ at: null });
    return;
  }
  if (now - clampedAt > NOTICE_MS && getTravel().clampedTo !== null) setTravel({ clampedTo: null });
  moveTo(next.time, next.state === 'waiting');
  if (next.state === 'ended') pause();
}

/** The present (ms): the end of the recording if it has just reached that of the log, which a fast playback cannot overtake. */
function presentOf({ end }: Recording): number {
  const now = Date.now();
  return now - newestAt < 2 * NEWEST_MS ? Math.min(now, end.time) : now;
}

/** Advances the displayed moment during playback. */
function moveTo(moment: number, isWaiting: boolean) {
  if (!recording) return;
  if (!recording.covers(moment)) {
    // A repeated span may begin before what is still loaded.
    write(iso(moment));
    load(iso(moment));
    return;
  }
  const was = ordinal;
  time = moment;
  ordinal = recording.ordinalAt(moment);
  if (ordinal > was) ripples.send(recording.framesBefore(ordinal, Math.min(RECENT, ordinal - was)).flatMap(touchedBy));
  const at = iso(moment);
  setTravel(ordinal === was ? { at, isWaiting } : { at, isWaiting, ...shown(recording) });
  if (performance.now() - writtenAt > ADDRESS_MS) write(at);
}

/** Writes the displayed moment to the address. */
function write(at: string) {
  writtenAt = performance.now();
  written = at;
  setView({ at }, false);
}

/** @param since start of the playback when the map is live */
export function play(since: number): void {
  cancelAnimationFrame(frame);
  if (getTravel().at === null) setView({ at: iso(since) });
  setTravel({ isPlaying: true, error: null });
  updatedAt = performance.now();
  frame = requestAnimationFrame(tick);
}

/** Plays a span again and again, from its begin. */
export function playSpan(span: Span): void {
  stop();
  const to = Math.min(span.to, Date.now() - 1);
  setView({ at: iso(span.from) });
  setTravel({ loop: { from: span.from, to }, isBackwards: false });
  play(span.from);
}

function stop() {
  cancelAnimationFrame(frame);
  setTravel({ isPlaying: false, isWaiting: false, restingAt: getTravel().at });
}

export function pause(): void {
  stop();
  const { at } = getTravel();
  if (at !== null && at !== getView().at) write(at);
}

/** Shows the next or previous event. */
export async function step(direction: 1 | -1): Promise<void> {
  pause();
  const of = recording;
  if (!of || getTravel().isLoading) return;
  const isAtEdge = () => ordinal === (direction === 1 ? of.end.ordinal : of.begin.ordinal);
  if (isAtEdge()) {
    setTravel({ isWaiting: true });
    // A request for the other direction may be running.
    await loading;
    await request(direction === 1 ? after : before);
    if (of !== recording) return;
    setTravel({ isWaiting: false });
  }
  if (getTravel().error || isAtEdge()) return;
  ordinal += direction;
  time = of.timeAt(ordinal);
  if (direction === 1) ripples.send(of.framesBefore(ordinal, 1).flatMap(touchedBy));
  const at = iso(time);
  setTravel({ at, restingAt: at, clampedTo: null, ...shown(of) });
  write(at);
}
