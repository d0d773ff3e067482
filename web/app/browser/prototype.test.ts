/** A page on another origin, like the front-end of the service that this one replaces, with `COMPATIBLE=prototype`. */

import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startServer } from './support.js';

/** Routes that pages of any origin may read. */
const OLD_ROUTES = [
  '/',
  '/living-map/health',
  '/living-map/snapshot',
  '/living-map/entities',
  '/living-map/entities/{id}',
  '/living-map/history',
];

let server: Server;
let browser: Browser;
let site: HttpServer;
/** Another site than the server, which is addressed as 127.0.0.1. */
let origin: string;

beforeAll(async () => {
  site = createServer((_, answer) =>
    answer.setHeader('content-type', 'text/html').end('<!doctype html><title>x</title>'),
  );
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  origin = `http://localhost:${(site.address() as AddressInfo).port}`;
  [server, browser] = await Promise.all([startServer([], { COMPATIBLE: 'prototype' }), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
  site?.close();
});

async function fromOtherOrigin<T>(check: (page: Page) => Promise<T>): Promise<T> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(origin);
    return await check(page);
  } finally {
    await context.close();
  }
}

/** Status of the answer, or `blocked` where the browser withholds it from the page. */
const ask = (page: Page, path: string, init: RequestInit = {}) =>
  page.evaluate(
    async ([url, init]) => {
      try {
        const answer = await fetch(url, init);
        await answer.text();
        return answer.status;
      } catch {
        return 'blocked';
      }
    },
    [new URL(path, server.url).href, init] as const,
  );

/** Method and path of every documented operation. */
async function operations(): Promise<[string, string][]> {
  const document = await (await fetch(new URL('/openapi.json', server.url))).json();
  return Object.entries<object>(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method): [string, string] => [method.toUpperCase(), path]),
  );
}

test('a page of another origin reads the old routes and no other', () =>
  fromOtherOrigin(async (page) => {
    const { items } = await (await fetch(new URL('/living-map/entities?limit=1', server.url))).json();
    const read: string[] = [];
    for (const [method, path] of await operations()) {
      if (method !== 'GET') continue;
      const answer = await ask(page, path.replace(/\{\w+\}/, encodeURIComponent(items[0].id)));
      if (answer !== 'blocked') read.push(path);
      if (OLD_ROUTES.includes(path)) expect([path, answer]).toEqual([path, 200]);
    }
    expect(read.sort()).toEqual([...OLD_ROUTES].sort());
    // with a header that needs a preflight, and errors too
    expect(await ask(page, '/living-map/snapshot', { headers: { 'x-requested-with': 'page' } })).toBe(200);
    expect(await ask(page, '/living-map/entities?limit=0')).toBe(400);
  }));

test('a page of another origin opens the old stream', () =>
  fromOtherOrigin(async (page) => {
    const url = new URL('/living-map/stream', server.url.replace('http', 'ws')).href;
    const first = await page.evaluate(
      (url) =>
        new Promise<string>((resolve) => {
          const socket = new WebSocket(url);
          socket.onmessage = ({ data }) => resolve(JSON.parse(data).kind);
          socket.onerror = () => resolve('rejected');
        }),
      url,
    );
    expect(first).toBe('snapshot');
  }));

test('a page of another origin changes nothing', () =>
  fromOtherOrigin(async (page) => {
    const event = { event_type: 'agent.event.status', payload: { agent_id: 'agent:intruder', status: 'online' } };
    const body = JSON.stringify(event);
    for (const [method, path] of await operations()) {
      if (method === 'GET') continue;
      expect([method, path, await ask(page, path.replace(/\{\w+\}/, 'x'), { method, body })]).toEqual([
        method,
        path,
        'blocked',
      ]);
    }
    // without a preflight: the server itself must reject it
    for (const headers of [{ 'content-type': 'text/plain' }, { 'content-type': 'application/json' }]) {
      expect(await ask(page, '/living-map/events', { method: 'POST', body, headers })).toBe('blocked');
      const asked = await fetch(new URL('/living-map/events', server.url), {
        method: 'POST',
        body,
        headers: { ...headers, origin },
      });
      expect(asked.status).toBe(403);
    }
    expect((await fetch(new URL('/living-map/entities/agent:intruder', server.url))).status).toBe(404);
  }));
