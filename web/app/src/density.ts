/** How much happened when. */

/** Times as counts in `buckets` equal parts of `since` to `until`; what is outside is left out. Milliseconds. */
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
