/** Histogram of events over time. */

/** Sums counts in `buckets` equal intervals from `since` to `until`, ignoring times outside (ms). */
export function countBuckets(
  times: readonly (readonly [time: number, count: number])[],
  since: number,
  until: number,
  buckets: number,
): number[] {
  const counts = new Array<number>(buckets).fill(0);
  for (const [time, count] of times) {
    const at = Math.floor(((time - since) / (until - since)) * buckets);
    if (at >= 0 && at < buckets) counts[at] = (counts[at] ?? 0) + count;
  }
  return counts;
}
