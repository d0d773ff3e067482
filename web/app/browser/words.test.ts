/** Words of the page: the feed, alerts and what an event carries. */

import { randomUUID } from 'node:crypto';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startServer } from './support.js';
import { accessibility, visit } from './visit.js';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  // No events of its own: those of the tests are the newest.
  [server, browser] = await Promise.all([startServer(['--events-per-second', '0']), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

async function publish(event_type: string, payload: object): Promise<void> {
  const answer = await fetch(`${server.url}living-map/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ event_type, event_id: randomUUID(), source: 'test', payload }),
  });
  expect(answer.status).toBeLessThan(300);
}

const history = async () => (await (await fetch(`${server.url}living-map/history?limit=1`)).json()).total as number;

test('the feed said that it was empty while its history was loading', async () => {
  await publish('agent.event.status', { agent_id: 'agent:sofia', status: 'online' });
  await expect.poll(history).toBeGreaterThan(0);
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const prepare = (page: Page) =>
    page.route(/living-map\/history/, async (route) => {
      await released;
      await route.continue();
    });
  await visit({ browser, url: `${server.url}?panel=events`, prepare }, async (page) => {
    const panel = page.locator('.panel');
    await panel.getByText('Loading…').waitFor();
    expect(await panel.getByText('No events yet.').count()).toBe(0);
    release();
    await expect.poll(() => panel.locator('.events li').count()).toBeGreaterThan(0);
    expect(await panel.getByText('No events yet.').count()).toBe(0);
  });
});

test('the alerts said that there were none beside their count', async () => {
  const prepare = (page: Page) =>
    Promise.all([
      page.routeWebSocket(/living-map\/stream/, () => {}),
      page.route(/living-map\/events\/stream/, () => {}),
    ]);
  await visit({ browser, url: `${server.url}?panel=alerts`, prepare, isDisturbed: true }, async (page) => {
    await page.locator('.panel').getByText('Loading…').waitFor();
    expect(await page.getByText('No active alerts.').count()).toBe(0);
  });
  await publish('ops.alert.info', { alert_id: 'notice', title: 'a notice', service: 'gateway' });
  await publish('ops.alert.warning', { alert_id: 'warning', title: 'slow: 35072.57224388', service: 'gateway' });
  await visit({ browser, url: `${server.url}?panel=alerts` }, async (page) => {
    await page.getByRole('list', { name: 'Notices' }).getByText('a notice').waitFor();
    await page.getByText('slow: 35,072.6').first().waitFor();
    expect(await page.getByText('No active alerts.').count()).toBe(0);
    const count = page.getByRole('link', { name: /^Alerts/ }).locator('.count');
    const rows = async () =>
      (await page.getByRole('list', { name: 'Raised' }).locator('li').count()) +
      (await page.getByRole('list', { name: 'Found on the map' }).locator('li').count());
    await expect.poll(async () => Number(await count.innerText()) - (await rows())).toBe(0);
  });
});

test('what an event carries was shown as JSON only', async () => {
  await publish('usage.llm', {
    agent_id: 'agent:sofia',
    model: 'glm-4',
    total_tokens: 18_420,
    latency_ms: 5812,
    success: true,
    run_id: 'run-7',
  });
  const shown = async (locale: string, names: Record<string, string>) =>
    visit({ browser, url: `${server.url}?panel=events`, options: { locale } }, async (page) => {
      const row = page.locator('.panel .events li[data-subject="usage.llm"]').first();
      await row.locator('summary').click();
      for (const [name, value] of Object.entries(names)) {
        const field = row.locator('dl > div').filter({ has: page.locator('dt').getByText(name, { exact: true }) });
        expect(await field.locator('dd').innerText()).toBe(value);
      }
      expect(await row.locator('pre').innerText()).toContain('"total_tokens": 18420');
      expect(await accessibility(page)).toEqual([]);
    });
  await shown('en-GB', { Model: 'glm-4', Tokens: '18,420', Latency: '5.8 sec', Success: 'yes', Run: 'run-7' });
  await shown('uk-UA', { Модель: 'glm-4', Токени: '18\u00a0420', Затримка: '5,8 с', Успіх: 'так', Запуск: 'run-7' });
});
