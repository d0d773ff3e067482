/** Tokens, roles and operator actions (alerts, dead letters, lessons) with a real server. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startServer, tokenOf } from './support.js';
import { accessibility, signIn, signOut, still, visit } from './visit.js';

const viewer = tokenOf('viewer');
const operator = tokenOf('operator');
const admin = tokenOf('admin');
let server: Server;
let browser: Browser;

const headers = { 'content-type': 'application/json', authorization: `Bearer ${admin.token}` };

async function publish(event_type: string, payload: object) {
  const event = { event_type, event_id: crypto.randomUUID(), payload };
  const answer = await fetch(`${server.url}living-map/events`, {
    method: 'POST',
    headers,
    body: JSON.stringify(event),
  });
  expect(await answer.json()).toMatchObject({ results: [{ status: 'accepted' }] });
}

/** Number of items that `path` returns. */
async function count(path: string): Promise<number> {
  return (await (await fetch(server.url + path, { headers })).json()).items.length;
}

/** The alert that these tests raise, as returned by the server. */
const fan = async () => {
  const { items } = await (await fetch(`${server.url}living-map/alerts`, { headers })).json();
  return items.find((alert: { id: string }) => alert.id === 'fan');
};

beforeAll(async () => {
  const lines = [viewer, operator, admin].map(({ line }) => line).join();
  // without the demo's rules, so that the only alerts are those of these tests
  const settings = {
    AUTH: 'token',
    AUTH_TOKENS: lines,
    DEAD_LETTER_RETRY_SECONDS: '0.05,0.1',
    ALERT_RULES: '/dev/null',
  };
  [server, browser] = await Promise.all([startServer([], settings, admin.token), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

/** Visits the page; without a token the first requests are rejected, which the browser logs too. */
const on = (path: string, check: (page: Page) => Promise<unknown>) =>
  visit({ browser, url: server.url + path, isDisturbed: true }, check);

test('the token is requested, stored for the tab only, and removed', () =>
  on('?layer=agents', async (page) => {
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('websocket', (socket) => asked.push(socket.url()));
    const field = page.getByLabel('Token', { exact: true });
    await field.waitFor();
    expect(await field.getAttribute('type')).toBe('password');
    expect(await accessibility(page)).toEqual([]);
    await signIn(page, 'lm_wrong');
    await page.getByText(/token is invalid/).waitFor();
    await signIn(page, viewer.token);
    await page.getByText('Live', { exact: true }).waitFor();
    await still(page);
    await page.reload();
    await page.getByText('Live', { exact: true }).waitFor();
    expect(asked.filter((address) => address.includes(viewer.token))).toEqual([]);
    expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain(viewer.token);
    await signOut(page);
    await field.waitFor();
    expect(await page.evaluate(() => JSON.stringify(sessionStorage))).not.toContain(viewer.token);
  }));

test('a further tab has the token without storing it; signing out ends both', () =>
  on('', async (page) => {
    await signIn(page, viewer.token);
    await page.getByText('Live', { exact: true }).waitFor();
    const second = await page.context().newPage();
    await second.goto(server.url);
    await second.getByText('Live', { exact: true }).waitFor();
    expect(await second.evaluate(() => JSON.stringify(localStorage))).not.toContain(viewer.token);
    await signOut(second);
    await page.getByLabel('Token', { exact: true }).waitFor();
  }));

test('an alert is shown in header and panel until cleared', () =>
  on('?panel=alerts', async (page) => {
    await signIn(page, viewer.token);
    const sentence = page.locator('.sentence');
    const raised = page.getByRole('list', { name: 'Raised' });
    await page.getByText('Live', { exact: true }).waitFor();
    const alert = { alert_id: 'disk', title: 'The disk is full', message: '99 %', entity_id: 'node:01' };
    await publish('ops.alert.critical', alert);
    await expect.poll(() => sentence.textContent()).toContain('The disk is full');
    await page
      .getByRole('link', { name: /Alerts/ })
      .locator('.count')
      .waitFor();
    await raised.getByText('The disk is full').waitFor();
    expect(await accessibility(page)).toEqual([]);
    await publish('ops.alert.critical', { alert_id: 'disk', status: 'resolved' });
    await expect.poll(() => sentence.textContent()).not.toContain('The disk is full');
    await raised.getByText('The disk is full').waitFor({ state: 'detached' });
  }));

test('operators acknowledge and silence alerts; viewers may not', async () => {
  const alert = { alert_id: 'fan', title: 'A fan stands still', entity_id: 'node:01' };
  await publish('ops.alert.warning', alert);
  await on('?panel=alerts', async (page) => {
    const row = page.getByRole('list', { name: 'Raised' }).locator('li').filter({ hasText: 'A fan stands still' });
    const silences = page.getByRole('list', { name: 'Active silences' }).locator('li');
    await signIn(page, viewer.token);
    const silence = row.getByRole('button', { name: 'Silence…' });
    // It looks disabled, and a click still gives the reason.
    await silence.click({ force: true });
    await row.locator('.denial').getByText('This requires the role operator; yours is viewer.').waitFor();
    expect(await row.getByLabel('Reason').count()).toBe(0);
    await row.getByRole('button', { name: 'Acknowledge' }).press('Enter');
    expect(await fan()).toMatchObject({ acknowledged_by: null });
    await signOut(page);
    await signIn(page, operator.token);

    await row.getByRole('button', { name: 'Acknowledge' }).press('Enter');
    await row.getByText(/Acknowledged by operator, .*\d\d:\d\d/).waitFor();
    expect(await fan()).toMatchObject({ acknowledged_by: 'operator' });

    await row.getByRole('button', { name: 'Silence…' }).press('Enter');
    await expect.poll(() => page.evaluate(() => document.activeElement?.tagName)).toBe('SELECT');
    await page.keyboard.press('Escape');
    await row.getByLabel('Reason').waitFor({ state: 'detached' });
    await row.getByRole('button', { name: 'Silence…' }).press('Enter');
    await row.getByLabel('Which alerts').selectOption('entity node:01');
    await row.getByLabel('Duration').selectOption('4 hr');
    expect(await accessibility(page)).toEqual([]);
    await row.getByLabel('Reason').fill('a new one is on its way');
    await page.keyboard.press('Enter');
    await row.getByText(/Silenced until/).waitFor();
    await silences.getByText('entity node:01').waitFor();
    await silences.getByText('a new one is on its way').waitFor();
    await silences.getByText('by operator').waitFor();
    expect(await accessibility(page)).toEqual([]);
    const { silenced_until } = await fan();
    expect(Date.parse(silenced_until) - Date.now()).toBeGreaterThan(3.9 * 3_600_000);

    // Time travel shows the alert as it was, without actions.
    const moment = new Date().toISOString();
    await page.goto(`${server.url}?panel=alerts&at=${moment}`);
    await row.getByText(/Acknowledged by operator/).waitFor();
    await row.getByText(/Silenced until/).waitFor();
    expect(await row.getByRole('button', { name: /Acknowledge|Silence/ }).count()).toBe(0);
    expect(await silences.count()).toBe(0);
    await page.getByRole('button', { name: 'Back to live' }).click();

    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByLabel('Language').selectOption('uk');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Зняти приглушення' }).press('Enter');
    await row.getByText(/Приглушено до/).waitFor({ state: 'detached' });
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe('panel');
    expect(await count('living-map/alerts/silences')).toBe(0);
    expect(await fan()).toMatchObject({ silenced_until: null });
  });
  await publish('ops.alert.warning', { ...alert, status: 'resolved' });
});

test('operators discard dead letters; viewers may not', async () => {
  await publish('agent.experience.v1.sofia', { what: 'this is no experience' });
  await expect.poll(() => count('living-map/dead-letters?status=dead')).toBe(1);
  await on('?panel=letters', async (page) => {
    const rows = page.locator('.panel .rows li');
    await signIn(page, viewer.token);
    await rows.getByText('agent.experience.v1.sofia').waitFor();
    for (const name of ['Replay', 'Discard']) {
      const button = page.getByRole('button', { name });
      expect(await button.getAttribute('aria-disabled')).toBe('true');
      await button.click({ force: true });
    }
    expect(await count('living-map/dead-letters?status=dead')).toBe(1);
    await signOut(page);
    await signIn(page, operator.token);
    // The message is as invalid as before.
    const attempts = await rows.getByText(/\d+ attempts/).textContent();
    await page.getByRole('button', { name: 'Replay' }).click();
    await expect.poll(() => rows.getByText(/\d+ attempts/).textContent()).not.toBe(attempts);
    await page.getByRole('button', { name: 'Discard' }).click();
    await page.getByText('No dead letters.').waitFor();
    await page.getByLabel('Status of dead letters').selectOption('discarded');
    await rows.getByText('agent.experience.v1.sofia').waitFor();
  });
});

test('a lesson of the learner is confirmed', async () => {
  for (let failure = 0; failure < 6; failure++) {
    await publish('agent.experience.v1.sofia', {
      event_id: crypto.randomUUID(),
      agent_id: 'sofia',
      task: 'answer a question',
      outcome: 'error',
      latency_ms: 100,
      error_class: 'TimeoutError',
      error_message: 'the tool did not answer',
      timestamp: new Date().toISOString(),
      version: 1,
    });
  }
  await expect.poll(() => count('living-map/lessons?status=candidate')).toBeGreaterThan(0);
  await on('?panel=lessons', async (page) => {
    await signIn(page, operator.token);
    const row = page.locator('.panel .rows li').first();
    await row.getByLabel('Reason').fill('seen it');
    await row.getByRole('button', { name: 'Confirm' }).click();
    await expect.poll(() => count('living-map/lessons?status=active')).toBe(1);
    // The simulated network's agents have lessons too: check only the confirmed one.
    const { items } = await (await fetch(`${server.url}living-map/lessons?status=active`, { headers })).json();
    await page.getByLabel('Status of lessons').selectOption('active');
    await page.locator('.panel .rows strong').getByText(items[0].title, { exact: true }).waitFor();
    await expect.poll(() => page.locator('.panel .rows li').count()).toBe(1);
  });
});
