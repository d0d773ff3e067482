import type { Span } from './playback';

/** Time before and after an alert that is played and shown (ms). */
const AROUND_MS = 300_000;

/** The ten minutes around a moment (ms). */
export const around = (time: number): Span => ({ from: time - AROUND_MS, to: time + AROUND_MS });
