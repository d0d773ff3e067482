/**
 * A span of the log: the map at its begin and the frames after it. Gives the map at any event of the span, forwards,
 * backwards and by jumps. The frames are kept in pages with keyframes, i.e. maps from which few frames lead to any other.
 */

import { applyChange, type EventFrame, type Layers } from '@living-map/react';

/** A frame, and when the log took its event (RFC 3339). */
export interface RecordedFrame {
  readonly logged_at: string;
  readonly frame: EventFrame;
}

/** The map at a position of the log. */
export interface Moment {
  readonly layers: Layers;
  /** Position in the log. */
  readonly cursor: string;
  /** A time at which this was the map (ms). */
  readonly time: number;
}

/** A moment of a recording. */
interface Edge extends Moment {
  /** Number of events applied since the first moment; negative before it. */
  readonly ordinal: number;
}

interface Page {
  /** Moment before the first frame. */
  readonly begin: Edge;
  readonly frames: readonly EventFrame[];
  /** Times of the frames (ms), ascending. */
  readonly times: readonly number[];
  /** Map before every {@link KEYFRAME_EVERY}th frame. */
  readonly keyframes: readonly Layers[];
  /** Size of the frames as JSON (characters). */
  readonly size: number;
}

/** Maximum number of frames of a page. */
const PAGE_FRAMES = 1000;
/** Distance of the keyframes: small enough that a jump folds in a few milliseconds. */
const KEYFRAME_EVERY = 250;

export class Recording {
  #pages: Page[] = [];
  #begin: Edge;
  #end: Edge;
  /** The map that was returned last: the next one is often a few frames later. */
  #last: { ordinal: number; layers: Layers };

  constructor(moment: Moment) {
    this.#begin = { ...moment, ordinal: 0 };
    this.#end = this.#begin;
    this.#last = this.#begin;
  }

  get begin(): Edge {
    return this.#begin;
  }

  get end(): Edge {
    return this.#end;
  }

  /** Size of the frames as JSON (characters). */
  get size(): number {
    return this.#pages.reduce((sum, page) => sum + page.size, 0);
  }

  /** Whether the map at this time (ms) is known. */
  covers(time: number): boolean {
    return time >= this.#begin.time && time <= this.#end.time;
  }

  /**
   * Adds the frames after the end.
   * @param cursor position up to which there are no other frames, if it is behind the last one
   * @param time time up to which there are no other frames (ms)
   */
  append(items: readonly RecordedFrame[], cursor?: string | null, time = Number.NEGATIVE_INFINITY): void {
    const { pages, end } = fold(this.#end, items);
    this.#pages.push(...pages);
    this.#end = { ...end, cursor: cursor ?? end.cursor, time: Math.max(end.time, time) };
  }

  /** Adds an earlier moment and all frames between it and the begin. */
  prepend(moment: Moment, items: readonly RecordedFrame[]): void {
    const { pages } = fold({ ...moment, ordinal: this.#begin.ordinal - items.length }, items);
    this.#pages.unshift(...pages);
    this.#begin = { ...moment, ordinal: this.#begin.ordinal - items.length };
  }

  /** Removes the pages farthest from an event until the recording is within its limits. That event's page stays. */
  trim(ordinal: number, maxFrames: number, maxSize: number): void {
    while (this.#end.ordinal - this.#begin.ordinal > maxFrames || this.size > maxSize) {
      const [first, second] = this.#pages;
      const last = this.#pages.at(-1);
      if (!first || !second || !last) return;
      if (ordinal - this.#begin.ordinal > this.#end.ordinal - ordinal) {
        if (ordinal < second.begin.ordinal) return;
        this.#pages.shift();
        this.#begin = second.begin;
      } else {
        if (ordinal > last.begin.ordinal) return;
        this.#pages.pop();
        this.#end = last.begin;
      }
    }
  }

  /** Number of events up to a time (ms). */
  ordinalAt(time: number): number {
    const page = this.#pages[lastIndex(this.#pages.length, (at) => (this.#pages[at]?.times[0] ?? 0) <= time)];
    if (!page) return this.#begin.ordinal;
    return page.begin.ordinal + 1 + lastIndex(page.times.length, (at) => (page.times[at] ?? 0) <= time);
  }

  /** Time of an event (ms); for the begin its own. */
  timeAt(ordinal: number): number {
    const page = this.#pageOf(ordinal);
    return page?.times[ordinal - page.begin.ordinal - 1] ?? this.#begin.time;
  }

  /** Map after an event. */
  layersAt(ordinal: number): Layers {
    const page = this.#pageOf(ordinal);
    if (!page) return this.#begin.layers;
    const wanted = ordinal - page.begin.ordinal;
    const keyframe = Math.min(Math.floor(wanted / KEYFRAME_EVERY), page.keyframes.length - 1);
    let layers = page.keyframes[keyframe] as Layers;
    let start = keyframe * KEYFRAME_EVERY;
    const known = this.#last.ordinal - page.begin.ordinal;
    if (known >= start && known <= wanted) {
      start = known;
      layers = this.#last.layers;
    }
    for (const { changes } of page.frames.slice(start, wanted)) layers = changes.reduce(applyChange, layers);
    this.#last = { ordinal, layers };
    return layers;
  }

  /** Last frames up to an event, newest first. */
  framesBefore(ordinal: number, count: number): EventFrame[] {
    const frames: EventFrame[] = [];
    for (let at = ordinal; at > Math.max(ordinal - count, this.#begin.ordinal); at--) {
      const page = this.#pageOf(at);
      const frame = page?.frames[at - page.begin.ordinal - 1];
      if (frame) frames.push(frame);
    }
    return frames;
  }

  /** The page whose frame leads to this event. */
  #pageOf(ordinal: number): Page | undefined {
    return this.#pages[lastIndex(this.#pages.length, (at) => (this.#pages[at]?.begin.ordinal ?? 0) < ordinal)];
  }
}

/** Pages with the frames after a moment, and the moment after them. */
function fold(begin: Edge, items: readonly RecordedFrame[]): { pages: Page[]; end: Edge } {
  const pages: Page[] = [];
  let end = begin;
  for (let at = 0; at < items.length; at += PAGE_FRAMES) {
    const part = items.slice(at, at + PAGE_FRAMES);
    const [frames, times, keyframes]: [EventFrame[], number[], Layers[]] = [[], [], []];
    const start = end;
    let { layers, time } = start;
    for (const { logged_at, frame } of part) {
      if (frames.length % KEYFRAME_EVERY === 0) keyframes.push(layers);
      layers = frame.changes.reduce(applyChange, layers);
      // Clocks of several servers may differ; a moment ends before the first later event.
      time = Math.max(time, wholeMs(logged_at));
      frames.push(frame);
      times.push(time);
    }
    end = { layers, time, cursor: frames.at(-1)?.cursor ?? start.cursor, ordinal: start.ordinal + part.length };
    pages.push({ begin: start, frames, times, keyframes, size: JSON.stringify(part).length });
  }
  return { pages, end };
}

/**
 * The first millisecond that is not before a time (RFC 3339): the server's map at it has the event of that time, as the
 * server compares microseconds.
 */
export function wholeMs(time: string): number {
  const hasRest = /\.\d{3}\d*[1-9]/.test(time);
  return Date.parse(time) + (hasRest ? 1 : 0);
}

/** The last index below `count` for which an ascending condition holds; -1 if there is none. */
function lastIndex(count: number, holds: (at: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
