/** Opens the page in a browser and checks invariants. */

import { createRequire } from 'node:module';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { expect } from 'vitest';

/** Optional routes, whose 404 the browser logs. */
const OPTIONAL = /living-map\/(lessons|dead-letters)/;

export interface Visit {
  browser: Browser;
  url: string;
  options?: BrowserContextOptions;
  /** Whether the test makes requests fail. */
  isDisturbed?: boolean;
  /** Errors that the test causes. */
  caused?: RegExp;
  /** Called before the page is loaded. */
  prepare?: (page: Page) => Promise<unknown>;
}

/** Also fails on page errors and on requests to other servers. */
export async function visit(
  { browser, url, options = {}, isDisturbed = false, caused, prepare }: Visit,
  check: (page: Page) => Promise<unknown>,
): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const failures: string[] = [];
  page.on('pageerror', (error) => failures.push(String(error)));
  page.on('console', (message) => {
    // WebGL errors are logged as warnings.
    if (message.type() !== 'error' && !message.text().includes('GL_INVALID')) return;
    const isRequest = message.text().startsWith('Failed to load resource');
    if (isRequest && (isDisturbed || OPTIONAL.test(message.location().url))) return;
    if (isDisturbed && /WebSocket|ERR_|net::/.test(message.text())) return;
    if (caused?.test(message.text())) return;
    failures.push(message.text());
  });
  const { origin } = new URL(url);
  page.on('request', (request) => {
    const asked = new URL(request.url());
    if (asked.protocol !== 'blob:' && asked.origin !== origin) failures.push(`asked ${asked.origin}`);
  });
  try {
    await prepare?.(page);
    await page.goto(url);
    await check(page);
  } finally {
    await context.close();
  }
  expect(failures).toEqual([]);
}

export async function signIn(page: Page, token: string): Promise<void> {
  await page.getByLabel('Token', { exact: true }).fill(token);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

export async function signOut(page: Page): Promise<void> {
  await page.locator('button.person').click();
  await page.getByRole('button', { name: 'Sign out' }).click();
}

/** Waits until the map is drawn and no animation is running. */
export const still = (page: Page) => page.waitForSelector('html[data-picture=still]');

export interface Vivid {
  /** Number of pixels, and of the green ones among them. */
  count: number;
  green: number;
  /** Width and height of the smallest rectangle that contains them (px). */
  width: number;
  height: number;
}

/** Pixels of the map in an undimmed mark colour, i.e. clearly green or red. */
export async function vividPixels(page: Page): Promise<Vivid> {
  const image = (await page.locator('.canvas').screenshot()).toString('base64');
  return page.evaluate(async (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes]));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
    context?.drawImage(bitmap, 0, 0);
    const { data = [] } = context?.getImageData(0, 0, bitmap.width, bitmap.height) ?? {};
    let [count, greens] = [0, 0];
    const [xs, ys] = [new Set<number>(), new Set<number>()];
    for (let at = 0; at < data.length; at += 4) {
      const [red = 0, green = 0, blue = 0] = [data[at], data[at + 1], data[at + 2]];
      if (!(Math.abs(red - green) > 60 && Math.max(red, green) > blue + 30)) continue;
      count += 1;
      if (green > red) greens += 1;
      xs.add((at / 4) % bitmap.width);
      ys.add(Math.floor(at / 4 / bitmap.width));
    }
    const span = (values: Set<number>) => {
      const sorted = [...values].sort((a, b) => a - b);
      return sorted.length === 0 ? 0 : (sorted.at(-1) ?? 0) - (sorted[0] ?? 0);
    };
    return { count, green: greens, width: span(xs), height: span(ys) };
  }, image);
}

/** Violations of WCAG 2.1 AA found by axe-core. */
export async function accessibility(page: Page): Promise<string[]> {
  // The page's CSP blocks other scripts, but not those evaluated by the debugger.
  const source = createRequire(import.meta.url)('axe-core').source as string;
  await page.evaluate(source);
  return page.evaluate(async () => {
    // biome-ignore lint/suspicious/noExplicitAny: axe defines a global
    const { violations } = await (globalThis as any).axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'],
    });
    return violations.map(
      ({ id, nodes }: { id: string; nodes: { target: unknown[]; failureSummary: string }[] }) =>
        `${id}: ${nodes.map(({ target, failureSummary }) => `${target.join(' ')} (${failureSummary})`).join('; ')}`,
    );
  });
}

/** Number of the table's rows, of which only the visible ones are in the document. */
export const rowCount = async (page: Page) => Number(await page.locator('table').getAttribute('aria-rowcount')) - 1;

export const query = (page: Page) => new URL(page.url()).searchParams;
