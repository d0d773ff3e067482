/** The clock of the playback: where the displayed moment is after some time. */

/** A span of time (ms). */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface Pace {
  /** Displayed moment (ms). */
  readonly time: number;
  /** Seconds of the log per second. */
  readonly speed: number;
  /** 1: forwards, -1: backwards. */
  readonly direction: 1 | -1;
  /** Span that is repeated. */
  readonly loop: Span | null;
}

export interface Advance {
  readonly time: number;
  /** `waiting`: for events that are not loaded; `ended`: at the begin of the log, or at the present. */
  readonly state: 'playing' | 'waiting' | 'ended';
}

/**
 * @param elapsed time since the last call (ms)
 * @param covered span whose events are loaded
 * @param limits begin of the log and the present
 */
export function advance(pace: Pace, elapsed: number, covered: Span, limits: Span): Advance {
  const { direction, loop } = pace;
  const time = pace.time + elapsed * pace.speed * direction;
  if (loop && (direction === 1 ? time >= loop.to : time <= loop.from)) {
    return { time: direction === 1 ? loop.from : loop.to, state: 'playing' };
  }
  const end = direction === 1 ? limits.to : limits.from;
  if (direction * (time - end) >= 0) {
    // The end may be reached before it is loaded.
    if (covered.from <= end && end <= covered.to) return { time: end, state: 'ended' };
  }
  const edge = direction === 1 ? covered.to : covered.from;
  // A moment on the wrong side of the edge, after the pages there were removed, stays.
  if (direction * (time - edge) > 0) {
    return { time: direction === 1 ? Math.max(edge, pace.time) : Math.min(edge, pace.time), state: 'waiting' };
  }
  return { time, state: 'playing' };
}
