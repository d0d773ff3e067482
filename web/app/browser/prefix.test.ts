/** The page and the explorer behind a proxy that serves them under a path. */

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startProxy, startServer } from './support.js';
import { still, visit } from './visit.js';

let browser: Browser;
let server: Server;
let proxy: Awaited<ReturnType<typeof startProxy>>;

beforeAll(async () => {
  [browser, server] = await Promise.all([startBrowser(), startServer([], { TRUSTED_PROXIES: '127.0.0.1' })]);
  proxy = await startProxy(`location /map/ {
    proxy_pass ${server.url};
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Prefix /map;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
  }`);
});
afterAll(async () => {
  proxy?.close();
  await browser?.close();
  await server?.close();
});

test('the page is live under a path', () =>
  visit({ browser, url: `${proxy.url}/map/?layer=agents&entity=agent:sofia` }, async (page) => {
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await page.getByText('Live', { exact: true }).waitFor();
    await expect.poll(() => page.locator('#entity-title').textContent()).toMatch(/Sofia/);
    await still(page);
    await page.reload();
    await page.getByText('Live', { exact: true }).waitFor();
    expect(asked.length).toBeGreaterThan(3);
    expect(asked.filter((path) => !path.startsWith('/map/'))).toEqual([]);
  }));

test('the explorer loads its document and tries a request under a path', async () => {
  const page = await browser.newPage();
  try {
    await page.goto(`${proxy.url}/map/docs`);
    expect(new URL(page.url()).pathname).toBe('/map/docs/');
    const operation = page.locator('#operations-service-health');
    await operation.locator('button').first().click();
    const answer = page.waitForResponse((response) => response.url().endsWith('/living-map/health'));
    await operation.getByRole('button', { name: 'Execute' }).click();
    expect([(await answer).status(), (await answer).url()]).toEqual([200, `${proxy.url}/map/living-map/health`]);
  } finally {
    await page.close();
  }
});
