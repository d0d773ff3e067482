/**
 * Picking by linear search: takes microseconds for thousands of marks and, unlike deck.gl's picking, needs no GPU
 * readback.
 */

/** Index of the circle that contains a point or whose edge is within `reach`, the nearest first; -1 if none is. */
export function nearest(circles: Float32Array, x: number, y: number, reach: number): number {
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  for (let at = 0; at * 3 < circles.length; at++) {
    const away = Math.hypot((circles[at * 3] ?? 0) - x, (circles[at * 3 + 1] ?? 0) - y);
    if (away - (circles[at * 3 + 2] ?? 0) > reach || away >= least) continue;
    best = at;
    least = away;
  }
  return best;
}

/** Index of the nearest circle in a direction, weighting sideways distance more; -1 if there is none. */
export function neighbour(circles: Float32Array, from: readonly number[] | null, dx: number, dy: number): number {
  const [x = 0, y = 0] = from ?? [];
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  for (let at = 0; at * 3 < circles.length; at++) {
    const [awayX, awayY] = [(circles[at * 3] ?? 0) - x, (circles[at * 3 + 1] ?? 0) - y];
    const ahead = awayX * dx + awayY * dy;
    const aside = Math.abs(awayX * dy - awayY * dx);
    if (from && (ahead <= 1e-3 || aside > ahead * 2)) continue;
    const cost = from ? ahead + 2 * aside : Math.hypot(awayX, awayY);
    if (cost >= least) continue;
    best = at;
    least = cost;
  }
  return best;
}
