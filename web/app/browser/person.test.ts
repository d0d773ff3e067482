/** The caller: name and role in the header, and what the role does not permit. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startServer, tokenOf } from './support.js';
import { accessibility, signIn, signOut, visit } from './visit.js';

const [viewer, operator, admin] = ['viewer', 'operator', 'admin'].map(tokenOf) as [Token, Token, Token];
type Token = ReturnType<typeof tokenOf>;
const REASON = 'This requires the role operator; yours is viewer.';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  const lines = [viewer, operator, admin].map(({ line }) => line).join();
  const settings = { AUTH: 'token', AUTH_TOKENS: lines, ALERT_RULES: '/dev/null' };
  [server, browser] = await Promise.all([startServer([], settings, admin.token), startBrowser()]);
  const payload = { alert_id: 'fan', title: 'A fan stands still', entity_id: 'node:01' };
  const answer = await fetch(`${server.url}living-map/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${admin.token}` },
    body: JSON.stringify({ event_type: 'ops.alert.warning', event_id: crypto.randomUUID(), payload }),
  });
  expect(answer.status).toBe(200);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const on = (path: string, token: string, check: (page: Page) => Promise<unknown>) =>
  visit({ browser, url: server.url + path, isDisturbed: true }, async (page) => {
    await signIn(page, token);
    await page.getByText('Live', { exact: true }).waitFor();
    await check(page);
  });

test('the header names the caller and the role; the menu signs out', () =>
  on('', viewer.token, async (page) => {
    const person = page.getByRole('button', { name: 'viewer viewer' });
    await person.press('Enter');
    await page.getByText('Viewers see everything and change nothing.').waitFor();
    await page.getByText('Your token does not expire.').waitFor();
    expect(await accessibility(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await expect.poll(() => person.evaluate((button) => button === document.activeElement)).toBe(true);
    await signOut(page);
    await signIn(page, operator.token);
    await page.getByRole('button', { name: 'operator operator' }).waitFor();
  }));

test('a denied action gives its reason on hover, focus and click', () =>
  on('?panel=alerts', viewer.token, async (page) => {
    const row = page.getByRole('list', { name: 'Raised' }).locator('li').filter({ hasText: 'A fan stands still' });
    const tooltip = page.locator('.tooltip');
    for (const name of ['Acknowledge', 'Silence…']) {
      const button = row.getByRole('button', { name });
      await expect.poll(() => button.getAttribute('aria-disabled')).toBe('true');
      const described = await button.getAttribute('aria-describedby');
      expect(await page.locator(`[id="${described}"]`).textContent()).toBe(REASON);
      await button.hover();
      await tooltip.getByText(REASON).waitFor();
      await page.mouse.move(5, 5);
      await tooltip.waitFor({ state: 'detached' });
    }
    // By keyboard: the buttons are tab stops, next to each other.
    await row.getByRole('button', { name: 'Acknowledge' }).focus();
    await page.keyboard.press('Tab');
    await tooltip.getByText(REASON).waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.textContent);
    expect(await focused()).toBe('Silence…');
    await page.keyboard.press('Enter');
    await row.locator('.denial').getByText(REASON).waitFor();
    expect(await row.getByLabel('Reason').count()).toBe(0);
    expect(await accessibility(page)).toEqual([]);
  }));

test('operators are offered everything', () =>
  on('?panel=alerts', operator.token, async (page) => {
    const row = page.getByRole('list', { name: 'Raised' }).locator('li').filter({ hasText: 'A fan stands still' });
    await expect.poll(() => row.getByRole('button', { name: 'Silence…' }).getAttribute('aria-disabled')).toBeNull();
    expect(await page.locator('[aria-disabled=true]').count()).toBe(0);
  }));

test('the metrics open in a tab although links send no token', () =>
  on('', viewer.token, async (page) => {
    await page.getByRole('button', { name: 'Settings' }).click();
    const opened = page.context().waitForEvent('page');
    await page.getByRole('button', { name: 'Metrics' }).click();
    const tab = await opened;
    await expect.poll(() => tab.locator('body').textContent()).toContain('# HELP living_map_');
    expect(tab.url()).not.toContain(viewer.token);
  }));
