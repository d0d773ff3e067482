/** Views of the page, and the states, sizes, themes and languages in which pictures are taken of them. */

import { NOW, PAST } from './frozen.js';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {'light' | 'dark'} Theme */

/**
 * Width and height of the window (px).
 * @type {Record<string, [number, number]>}
 */
export const SIZES = { '390x844': [390, 844], '1440x900': [1440, 900], '2560x1440': [2560, 1440] };
export const THEMES = /** @type {const} */ (['light', 'dark']);
export const LANGUAGES = /** @type {const} */ (['en', 'uk']);

/**
 * Networks, and what happens to them.
 * @type {Record<string, { network: import('./frozen.js').Network, at?: string, isLost?: boolean }>}
 */
export const STATES = {
  'one-agent': { network: 'one' },
  '60-agents': { network: 'sixty' },
  '10000-agents': { network: 'many' },
  empty: { network: 'none' },
  failing: { network: 'failing' },
  past: { network: 'sixty', at: PAST },
  disconnected: { network: 'sixty', isLost: true },
  'without-token': { network: 'closed' },
};

/**
 * @typedef {object} View
 * @property {string} name
 * @property {Record<string, string>} query parameters of the URL; a value that ends with `:` stands for an entity of this type
 * @property {boolean} [isIntroduced] whether the introduction was closed
 * @property {(page: Page) => Promise<unknown>} [open] opens what is not in the URL
 */

/** @type {View[]} */
export const VIEWS = [
  { name: 'city', query: {} },
  { name: 'space', query: { layer: 'space' } },
  { name: 'nodes', query: { layer: 'nodes' } },
  { name: 'agents', query: { layer: 'agents' } },
  { name: 'city-table', query: { view: 'table' } },
  { name: 'space-table', query: { layer: 'space', view: 'table' } },
  { name: 'nodes-table', query: { layer: 'nodes', view: 'table' } },
  { name: 'agents-table', query: { layer: 'agents', view: 'table' } },
  { name: 'agent', query: { layer: 'agents', entity: 'agent:' } },
  { name: 'node', query: { layer: 'nodes', entity: 'node:' } },
  { name: 'microdao', query: { entity: 'microdao:' } },
  { name: 'dao', query: { layer: 'space', entity: 'dao:' } },
  { name: 'unknown', query: { layer: 'agents', entity: 'agent:nobody' } },
  { name: 'alerts', query: { panel: 'alerts' } },
  { name: 'health', query: { panel: 'health' } },
  { name: 'lessons', query: { panel: 'lessons' } },
  { name: 'dead-letters', query: { panel: 'letters' } },
  { name: 'changes', query: { panel: 'changes' } },
  { name: 'filtered', query: { layer: 'agents', status: 'failing,warning,working' } },
  { name: 'microdao-filter', query: { microdao: 'microdao:' } },
  { name: 'welcome', query: {}, isIntroduced: false },
  {
    name: 'command',
    query: {},
    open: async (page) => {
      await page.keyboard.press('Control+k');
      await page.locator('[role=dialog] input[role=combobox]').fill('a');
      await page.getByRole('option').first().waitFor();
    },
  },
  {
    name: 'help',
    query: {},
    open: async (page) => {
      await page.keyboard.press('?');
      await page.getByRole('dialog').waitFor();
    },
  },
  {
    name: 'settings',
    query: {},
    open: async (page) => {
      await page.locator('.rail > button').click();
      await page.getByRole('dialog').waitFor();
    },
  },
];

/** The login form, the only view of the state `without-token`. @type {View} */
export const LOGIN = { name: 'login', query: {} };

/** Entities that pictures show, unless others have an alert: those with most events. */
const PREFERRED = ['agent:iris-2', 'node:12', 'microdao:2', 'dao:sun-treasury'];

/**
 * Takes pictures; its pages share the browser's cache.
 * @param {import('playwright-core').Browser} browser
 */
export function pictureTaker(browser) {
  /** @type {Map<string, Promise<import('playwright-core').BrowserContext>>} */
  const contexts = new Map();
  const contextOf = (/** @type {string} */ language, /** @type {boolean} */ hasTouch) => {
    const key = `${language} ${hasTouch}`;
    const options = { hasTouch, locale: language === 'uk' ? 'uk-UA' : 'en-GB', timezoneId: 'Europe/Kyiv' };
    const context = contexts.get(key) ?? browser.newContext({ ...options, reducedMotion: 'reduce' });
    contexts.set(key, context);
    return context;
  };

  /**
   * Opens one view in one state, and takes pictures of it in the given themes.
   * @param {string} url of the server
   * @param {{ view: View, state: string, size: string, language: string, themes: readonly Theme[] }} options
   * @returns {Promise<Map<Theme, Buffer>>} PNG by theme
   */
  return async (url, { view, state, size, language, themes }) => {
    const [width = 0, height = 0] = SIZES[size] ?? [];
    const { at, isLost = false } = STATES[state] ?? {};
    const page = await (await contextOf(language, width < 600)).newPage();
    try {
      page.setDefaultTimeout(60_000);
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme: themes[0] ?? 'light' });
      await page.clock.setFixedTime(NOW);
      await page.addInitScript((preferences) => localStorage.setItem('living-map', JSON.stringify(preferences)), {
        isIntroduced: view.isIntroduced ?? true,
      });
      const disconnect = isLost ? await prepareLoss(page) : null;
      const query = await resolved(url, at === undefined ? view.query : { ...view.query, at });
      await page.goto(`${url}?${new URLSearchParams(query)}`);
      await settled(page);
      await disconnect?.();
      await view.open?.(page);
      /** @type {Map<Theme, Buffer>} */
      const pictures = new Map();
      for (const theme of themes) {
        await page.emulateMedia({ colorScheme: theme });
        pictures.set(theme, await stillPicture(page));
      }
      return pictures;
    } finally {
      await page.close();
    }
  };
}

/**
 * Replaces the type of an entity by an id that the network has.
 * @param {string} url
 * @param {Record<string, string>} query
 */
async function resolved(url, query) {
  const types = Object.values(query).filter((value) => value.endsWith(':'));
  if (types.length === 0) return query;
  const { layers } = await (await fetch(`${url}living-map/snapshot`)).json();
  const items = [layers.agents.items, layers.nodes.items, layers.city.items, layers.space.planets].flat();
  /** @type {string[]} */
  const ids = items.map(({ id }) => id);
  /** @type {{ entity_id: string | null }[]} */
  const alerts = layers.city.alerts;
  const alerted = alerts.flatMap(({ entity_id }) => entity_id ?? []).sort();
  const idOf = (/** @type {string} */ type) =>
    [...alerted, ...PREFERRED, ...ids].find((id) => id.startsWith(type) && ids.includes(id)) ?? `${type}none`;
  return Object.fromEntries(
    Object.entries(query).map(([key, value]) => [key, value.endsWith(':') ? idOf(value) : value]),
  );
}

/**
 * Lets the page lose its connection later, while other pages keep theirs.
 * @param {Page} page
 * @returns {Promise<() => Promise<void>>} closes the stream and fails all further requests
 */
async function prepareLoss(page) {
  let isLost = false;
  /** @type {import('playwright-core').WebSocketRoute[]} */
  const sockets = [];
  await page.routeWebSocket(/living-map\/stream/, (socket) => {
    if (isLost) return void socket.close({ code: 1001 });
    socket.connectToServer();
    sockets.push(socket);
  });
  return async () => {
    isLost = true;
    await page.route('**', (route) => route.abort());
    for (const socket of sockets) await socket.close({ code: 1001 });
    await page.waitForSelector('html[data-lost]');
  };
}

/** Waits until the page has its data and has drawn it. */
async function settled(/** @type {Page} */ page) {
  await page.waitForFunction(
    () =>
      document.fonts.status === 'loaded' &&
      (document.querySelector('.login') !== null ||
        (document.querySelector('[data-connection=open]') !== null &&
          document.querySelector('[aria-busy=true]') === null &&
          (document.querySelector('.picture') === null || document.documentElement.dataset.picture === 'still'))),
  );
}

/** Pictures are compared until two in succession are equal, at most this number of times. */
const TRIES = 20;

/** @returns {Promise<Buffer>} */
async function stillPicture(/** @type {Page} */ page) {
  const take = () => page.screenshot({ animations: 'disabled', caret: 'hide' });
  let last = await take();
  for (let number = 0; number < TRIES; number++) {
    await page.waitForTimeout(100);
    const next = await take();
    if (next.equals(last)) return next;
    last = next;
  }
  throw new Error(`${page.url()} does not come to rest`);
}
