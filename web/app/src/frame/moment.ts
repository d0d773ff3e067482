/** Parses moments as people write them: "14:00", "yesterday 14:00", "10 min ago", an ISO time. */

import type { Language } from '../i18n/text';

const WORDS: Record<Language, { today: RegExp; yesterday: RegExp; ago: RegExp }> = {
  en: {
    today: /^today\b/,
    yesterday: /^yesterday\b/,
    ago: /^(\d+)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)\s+ago$/,
  },
  uk: {
    today: /^сьогодні(?=\s|$)/,
    yesterday: /^вчора(?=\s|$)/,
    ago: /^(\d+)\s*(с|сек|секунди?|хв|хвилини?|хвилин|г|год|години?|годин|д|дні|днів|день)\s+тому$/,
  },
};

const UNITS: Record<string, number> = {
  s: 1000,
  с: 1000,
  m: 60_000,
  х: 60_000,
  h: 3_600_000,
  г: 3_600_000,
  d: 86_400_000,
  д: 86_400_000,
};

/** @returns a moment before `now` (ms), in the local time zone; `null` for other texts */
export function parseMoment(text: string, now: number, language: Language): number | null {
  const wanted = text.trim().toLocaleLowerCase();
  for (const words of [WORDS[language], WORDS.en]) {
    const [, count, unit = ''] = words.ago.exec(wanted) ?? [];
    if (count) return now - Number(count) * (UNITS[unit[0] ?? ''] ?? 0);
    const isYesterday = words.yesterday.test(wanted);
    const rest = wanted.replace(words.yesterday, '').replace(words.today, '').trim();
    const [, hours, minutes, seconds] = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(rest) ?? [];
    if (hours) return clockTime(now, isYesterday, [Number(hours), Number(minutes), Number(seconds ?? 0)]);
    if (isYesterday && rest === '') return now - 86_400_000;
  }
  if (!/^\d{4}-\d{2}-\d{2}/.test(wanted)) return null;
  const time = Date.parse(text.trim());
  return Number.isNaN(time) || time > now ? null : time;
}

function clockTime(now: number, isYesterday: boolean, [hours, minutes, seconds]: [number, number, number]) {
  if (hours > 23 || minutes > 59 || seconds > 59) return null;
  const date = new Date(now);
  date.setHours(hours, minutes, seconds, 0);
  // A time of day that is still to come means that of the day before.
  if (isYesterday || date.getTime() > now) date.setDate(date.getDate() - 1);
  return date.getTime();
}
