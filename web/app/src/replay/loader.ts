/** Loads moments and recorded frames from the server. */

import { get, LivingMapError } from '@living-map/react';
import { server } from '../server';
import { type Moment, type RecordedFrame, wholeMs } from './recording';

/** Frames of one request. */
const PAGE_FRAMES = 2000;
/** Requests for the frames between an earlier moment and the begin of a recording. */
const MAX_PAGES_BEFORE = 10;
/** A span with too many frames is halved this often. */
const MAX_HALVES = 6;

export interface FramePage {
  readonly items: readonly RecordedFrame[];
  /** Position after which the next page begins; `null`: this is the last one. */
  readonly next: string | null;
}

/**
 * The map at a time (RFC 3339).
 * @throws {LivingMapError} 410 for a time before the log begins, see {@link oldestTime}
 */
export async function loadMoment(at: string, signal: AbortSignal): Promise<Moment> {
  const { layers, meta } = await get(server.url, '/living-map/snapshot', { at }, signal);
  return { layers, cursor: meta.cursor, time: wholeMs(at) };
}

export interface FrameFilter {
  /** Position or time of the last frame (RFC 3339); the present if absent. */
  readonly until?: string;
  /** Entity that the events are about, or that they changed. */
  readonly entity_id?: string;
}

export async function loadFrames(cursor: string, signal: AbortSignal, filter: FrameFilter = {}): Promise<FramePage> {
  const query = { cursor, limit: PAGE_FRAMES, ...filter };
  const { items, next_cursor } = await get(server.url, '/living-map/frames', query, signal);
  return { items: items as unknown as RecordedFrame[], next: next_cursor };
}

/** An earlier moment and all frames between it and a position. A span with too many frames begins later. */
export async function loadBefore(
  { cursor, time }: Pick<Moment, 'cursor' | 'time'>,
  span: number,
  signal: AbortSignal,
): Promise<(Clamped & { items: RecordedFrame[] }) | null> {
  for (let halves = 0; halves <= MAX_HALVES; halves++) {
    const from = Math.floor(time - span / 2 ** halves);
    const clamped = await loadClamped(from, signal);
    const items: RecordedFrame[] = [];
    let next: string | null = clamped.moment.cursor;
    for (let page = 0; page < MAX_PAGES_BEFORE && next !== null; page++) {
      const answer: FramePage = await loadFrames(next, signal, { until: cursor });
      items.push(...answer.items);
      next = answer.next;
    }
    if (next === null) return { ...clamped, items };
  }
  return null;
}

export interface Clamped {
  readonly moment: Moment;
  /** Whether the log begins with it. */
  readonly isOldest: boolean;
}

/** The map at a time (ms), or at the begin of the log after it. */
export async function loadClamped(time: number, signal: AbortSignal): Promise<Clamped> {
  try {
    return { moment: await loadMoment(new Date(time).toISOString(), signal), isOldest: false };
  } catch (error) {
    const oldest = oldestTime(error);
    if (oldest === null) throw error;
    return { moment: await loadMoment(oldest, signal), isOldest: true };
  }
}

/** Begin of the log (RFC 3339), from the error about an earlier moment. */
export function oldestTime(error: unknown): string | null {
  const problem = error instanceof LivingMapError ? (error.problem as { oldest_time?: string } | null) : null;
  return problem?.oldest_time ?? null;
}
