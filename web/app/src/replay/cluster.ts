/** Groups marks of the time line that would overlap. */

import type { Span } from './playback';

export const MARK_KINDS = ['alert', 'lesson', 'change'] as const;
export type MarkKind = (typeof MARK_KINDS)[number];

/** Something to go to on the time line. */
export interface Mark {
  readonly kind: MarkKind;
  /** Time (ms). */
  readonly time: number;
  readonly text: string;
}

export interface Cluster {
  /** Marks of the group, oldest first. */
  readonly marks: readonly Mark[];
  /** Position in the span: 0 is its begin, 1 its end. */
  readonly position: number;
}

/** @param gap smallest distance of two groups, as a part of the span */
export function clusters(marks: readonly Mark[], span: Span, gap: number): Cluster[] {
  const found: { marks: Mark[]; position: number }[] = [];
  for (const mark of marks.toSorted((a, b) => a.time - b.time)) {
    const position = (mark.time - span.from) / (span.to - span.from);
    if (position < 0 || position > 1) continue;
    const last = found.at(-1);
    if (last && position - last.position < gap) last.marks.push(mark);
    else found.push({ marks: [mark], position });
  }
  return found;
}
