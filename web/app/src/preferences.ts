/** Preferences stored in this browser: language, theme, panels, and whether the introduction was closed. */

import { useSyncExternalStore } from 'react';
import { type Language, loadTexts, type Text, textOf } from './i18n/text';

export const LANGUAGES = ['en', 'uk'] as const satisfies readonly Language[];
export const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

/** Width of a panel (px). */
export const PANEL_WIDTH = { least: 300, usual: 384, most: 640 } as const;

interface Preferences {
  readonly language: Language;
  readonly theme: Theme;
  /** Whether the introduction was closed. */
  readonly isIntroduced: boolean;
  /** Width of a panel (px). */
  readonly panelWidth: number;
  /** Whether panels stand beside the scene instead of floating over it. */
  readonly isDocked: boolean;
}

const KEY = 'living-map';

function read(): Preferences {
  let stored: Partial<Preferences> = {};
  try {
    stored = JSON.parse(localStorage.getItem(KEY) ?? '{}');
  } catch {
    // Storage is unavailable: use the defaults.
  }
  const preferred = globalThis.navigator?.languages?.map((tag) => tag.split('-')[0]) ?? [];
  const known = (tag: unknown) => LANGUAGES.find((language) => language === tag);
  return {
    language: known(stored.language) ?? preferred.map(known).find(Boolean) ?? 'en',
    theme: THEMES.find((theme) => theme === stored.theme) ?? 'auto',
    isIntroduced: stored.isIntroduced === true,
    panelWidth: widthOf(stored.panelWidth),
    isDocked: stored.isDocked === true,
  };
}

function widthOf(stored: unknown): number {
  const width = typeof stored === 'number' && Number.isFinite(stored) ? stored : PANEL_WIDTH.usual;
  return Math.round(Math.min(PANEL_WIDTH.most, Math.max(PANEL_WIDTH.least, width)));
}

let preferences = read();
const listeners = new Set<() => void>();

function apply() {
  const root = globalThis.document?.documentElement;
  if (!root) return;
  root.lang = preferences.language;
  if (preferences.theme === 'auto') delete root.dataset.theme;
  else root.dataset.theme = preferences.theme;
  root.style.setProperty('--panel', `${preferences.panelWidth}px`);
}

apply();

export function setPreferences(change: Partial<Preferences>): void {
  preferences = { ...preferences, ...change };
  preferences = { ...preferences, panelWidth: widthOf(preferences.panelWidth) };
  apply();
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Storage is unavailable: effective until the page is closed.
  }
  for (const listener of [...listeners]) listener();
}

/** Loads the texts of the preferred language. If that fails, for example after an update of the server, texts are English. */
export async function loadPreferredLanguage(): Promise<void> {
  try {
    await loadTexts(preferences.language);
  } catch {
    preferences = { ...preferences, language: 'en' };
    apply();
  }
}

/** Changes the language once its texts are loaded; it stays if they cannot be. */
export async function setLanguage(language: Language): Promise<void> {
  try {
    await loadTexts(language);
  } catch {
    return;
  }
  setPreferences({ language });
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const usePreferences = (): Preferences =>
  useSyncExternalStore(
    subscribe,
    () => preferences,
    () => preferences,
  );

export const useText = (): Text => textOf(usePreferences().language);

/** Whether the user prefers reduced motion. */
export const prefersReducedMotion = (): boolean =>
  globalThis.matchMedia?.('(prefers-reduced-motion: reduce)').matches ?? false;
