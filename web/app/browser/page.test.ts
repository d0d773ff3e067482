/** All views and interactions of the page, on a server with a simulated network. */

import { type IncomingHttpHeaders, request } from 'node:http';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Server, startBrowser, startServer } from './support.js';
import { accessibility, query, rowCount, still, visit, vividPixels } from './visit.js';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const on = (path: string, check: (page: Page) => Promise<unknown>, options = {}, isDisturbed = false) =>
  visit({ browser, url: server.url + path, options, isDisturbed }, check);

/** A response body as transferred, and decoded. */
function text(path: string, coding: string, headers = {}) {
  return new Promise<{ headers: IncomingHttpHeaders; size: number; body: string }>((resolve, reject) => {
    const asked = request(server.url + path, { headers: { ...headers, 'accept-encoding': coding } }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => {
        const came = Buffer.concat(parts);
        const unpack = { br: brotliDecompressSync, gzip: gunzipSync }[answer.headers['content-encoding'] ?? ''];
        resolve({ headers: answer.headers, size: came.length, body: (unpack?.(came) ?? came).toString() });
      });
    });
    asked.on('error', reject).end();
  });
}

const snapshot = async () => (await fetch(`${server.url}living-map/snapshot`)).json();
const vividCount = async (page: Page) => (await vividPixels(page)).count;
const heading = (page: Page) => page.locator('#entity-title');

describe('layers', () => {
  test('each is shown as a map and as a table', async () => {
    await on('', async (page) => {
      const { layers } = await snapshot();
      const counts = {
        City: layers.city.items.length,
        Space: layers.space.planets.length,
        Nodes: layers.nodes.items.length,
        Agents: layers.agents.items.length,
      };
      for (const [name, least] of Object.entries(counts)) {
        await page.getByRole('navigation', { name: 'Layers' }).getByRole('link', { name }).click();
        await still(page);
        expect(query(page).get('layer') ?? 'city').toBe(name.toLowerCase());
        await page.getByRole('button', { name: 'Table', exact: true }).click();
        await expect.poll(() => rowCount(page)).toBeGreaterThanOrEqual(least);
        await page.getByRole('button', { name: 'Map', exact: true }).click();
      }
    });
  });

  test('the first map does not wait for deck.gl', async () => {
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const prepare = (page: Page) =>
      page.route(/assets\/graphics-/, async (route) => {
        await released;
        await route.continue();
      });
    await visit({ browser, url: `${server.url}?layer=agents`, prepare }, async (page) => {
      await page.waitForSelector('html[data-picture=first]');
      const { layers } = await snapshot();
      const colours = await page.locator('canvas.sketch').evaluate((canvas: HTMLCanvasElement) => {
        const { data = [] } = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height) ?? {};
        return new Set(new Uint32Array(new Uint8Array(data).buffer)).size;
      });
      expect(layers.agents.items.length).toBeGreaterThan(0);
      expect(colours).toBeGreaterThan(10);
      release();
      await still(page);
      expect(await page.locator('canvas.sketch').count()).toBe(0);
    });
  });

  test('files are served precompressed', async () => {
    const { body } = await text('', 'identity', { accept: 'text/html' });
    const [script] = /assets\/main-[\w-]+\.js/.exec(body) ?? [''];
    const plain = await text(script, 'identity');
    for (const coding of ['br', 'gzip']) {
      const { headers, size, body: unpacked } = await text(script, `deflate, ${coding}`);
      expect(headers['content-encoding']).toBe(coding);
      expect(headers.vary).toContain('accept-encoding');
      expect(headers['cache-control']).toContain('immutable');
      expect(size).toBeLessThan(plain.size / 2);
      expect(unpacked).toBe(plain.body);
    }
    expect(plain.headers).not.toHaveProperty('content-encoding');
  });

  test('state, connection and upstreams are visible', async () => {
    await on('?panel=health', async (page) => {
      await page.getByText('Live', { exact: true }).waitFor();
      await expect.poll(() => page.getByRole('list', { name: 'Upstreams' }).locator('li').count()).toBe(6);
      await page
        .locator('.sentence strong')
        .getByText(/All quiet|failing|attention/)
        .waitFor();
    });
  });

  test('events show ripples; the map is redrawn only for changes', async () => {
    const busy = await startServer(['--events-per-second', '200']);
    try {
      // Agents with more calls grow and the layout is animated, except with reduced motion.
      const options = { reducedMotion: 'reduce' } as const;
      await visit({ browser, url: `${busy.url}?layer=agents`, options }, async (page) => {
        await still(page);
        const lit = () =>
          page.locator('canvas.ripples').evaluate((canvas: HTMLCanvasElement) => {
            if (canvas.hidden || canvas.width === 0) return 0;
            const { data = [] } = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height) ?? {};
            return new Uint32Array(new Uint8Array(data).buffer).filter((pixel) => pixel !== 0).length;
          });
        await expect.poll(lit, { timeout: 20_000 }).toBeGreaterThan(500);
        // The views update every 120 ms.
        const milliseconds = await page.evaluate(async (draws) => {
          const since = performance.now();
          await new Promise<void>((resolve) => {
            let seen = 0;
            new MutationObserver((all, observer) => {
              seen += all.length;
              if (seen < draws) return;
              observer.disconnect();
              resolve();
            }).observe(document.documentElement, { attributeFilter: ['data-picture'] });
          });
          return performance.now() - since;
        }, 40);
        expect(milliseconds).toBeGreaterThan(40 * 100);
        // Stop events, so that nothing changes.
        busy.hold();
        await expect.poll(() => page.locator('canvas.ripples').getAttribute('hidden')).not.toBeNull();
        busy.resume();
      });
    } finally {
      await busy.close();
    }
  });

  test('with reduced motion the map is the same', async () => {
    await on('?layer=agents', still, { reducedMotion: 'reduce' });
  });
});

describe('entities', () => {
  test('search opens an entity and moves the camera to it', async () => {
    await on('', async (page) => {
      await still(page);
      await page.keyboard.press('/');
      await page.getByRole('combobox', { name: 'Search' }).waitFor();
      await page.keyboard.type('dnipro');
      await page.getByRole('option', { name: /Dnipro Core/ }).waitFor();
      await page.keyboard.press('Enter');
      await expect.poll(() => heading(page).textContent()).toBe('Dnipro Core');
      expect(query(page).get('layer')).toBe('nodes');
      await expectCentred(page, 'Dnipro Core');
    });
  });

  test('unknown entities are reported', async () => {
    await on('?entity=agent:nobody', async (page) => {
      await page.getByText('agent:nobody is not on the map.').waitFor();
      await page.keyboard.press('Control+k');
      await page.getByRole('combobox', { name: 'Search' }).fill('no such thing');
      await page.getByText('No matches').waitFor();
    });
  });

  test('a link restores layer, entity and panel', async () => {
    await on('?layer=space&entity=dao:sun-treasury&panel=health', async (page) => {
      await expect.poll(() => heading(page).textContent()).toBe('Sun Treasury');
      await page.getByRole('heading', { name: 'Is anything broken?' }).waitFor();
      await expectCentred(page, 'Sun Treasury');
    });
  });

  test('the panel has facts, relations and events; Back works', async () => {
    await on('?layer=city&entity=microdao:2', async (page) => {
      const panel = page.getByRole('region', { name: 'DAARION Core' });
      await panel.getByText('Treasury', { exact: true }).waitFor();
      await expect.poll(() => panel.locator('.events li').count()).toBeGreaterThan(0);
      await panel.getByRole('link', { name: 'DAARION Governance' }).click();
      await expect.poll(() => heading(page).textContent()).toBe('DAARION Governance');
      expect(query(page).get('layer')).toBe('space');
      await page.goBack();
      await expect.poll(() => heading(page).textContent()).toBe('DAARION Core');
      await page.keyboard.press('Escape');
      await heading(page).waitFor({ state: 'detached' });
    });
  });

  test('a click opens an entity; a click beside it closes it', async () => {
    await on('?layer=space&entity=dao:sun-treasury', async (page) => {
      await expectCentred(page, 'Sun Treasury');
      await page.keyboard.press('Escape');
      const { x, y } = await centre(page);
      await page.mouse.click(x, y);
      await expect.poll(() => query(page).get('entity')).toBe('dao:sun-treasury');
      await page.locator('.canvas').click({ position: { x: 4, y: 4 } });
      await expect.poll(() => query(page).get('entity')).toBeNull();
    });
  });

  test('names from the network are never interpreted as HTML', async () => {
    const name = '<img src=x onerror=alert(1)>';
    const payload = { microdao_id: 'microdao:markup', slug: 'markup', name, owner_user_id: 'u' };
    const event = { event_type: 'microdao.event.created', event_id: crypto.randomUUID(), payload };
    const answer = await fetch(`${server.url}living-map/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(event),
    });
    expect(answer.status).toBe(200);
    await on('?entity=microdao:markup&view=table', async (page) => {
      await expect.poll(() => heading(page).textContent()).toBe(name);
      await page.getByRole('rowheader', { name }).waitFor();
      expect(await page.locator('img[src=x]').count()).toBe(0);
    });
  });
});

/** The centre of the part of the map that no panel covers. */
async function centre(page: Page) {
  const box = async (selector: string) => {
    const found = await page.locator(selector).boundingBox();
    if (!found) throw new Error(`no ${selector}`);
    return found;
  };
  const [canvas, tools, legend] = await Promise.all([box('.canvas'), box('.stage-tools'), box('.legend')]);
  const dock = await page.locator('.dock').count();
  const right = dock > 0 ? (await box('.dock')).x : canvas.x + canvas.width;
  return { x: (canvas.x + right) / 2, y: (tools.y + tools.height + legend.y) / 2 };
}

/** Checks by hovering that the entity is in the centre of the map. */
async function expectCentred(page: Page, name: string) {
  await expect
    .poll(
      async () => {
        await still(page);
        const { x, y } = await centre(page);
        await page.mouse.move(x + 1, y);
        await page.mouse.move(x, y);
        return page
          .locator('.tip strong')
          .textContent({ timeout: 500 })
          .catch(() => '');
      },
      { timeout: 20_000 },
    )
    .toBe(name);
}

describe('filters', () => {
  test('excluded entities are dimmed, and restored', async () => {
    await on('?layer=agents&panel=none', async (page) => {
      await still(page);
      const before = await vividCount(page);
      expect(before).toBeGreaterThan(1000);
      const filter = page.getByRole('region', { name: 'Legend' }).getByRole('button', { name: 'away' });
      await filter.click();
      await expect.poll(() => vividCount(page)).toBeLessThan(before / 4);
      await filter.click();
      await expect.poll(() => vividCount(page)).toBeGreaterThan(before / 2);
    });
  });

  test('by status, kind and microDAO are applied and in the URL', async () => {
    await on('?layer=agents&view=table', async (page) => {
      const { layers } = await snapshot();
      const kinds: string[] = layers.agents.items.map(({ kind }: { kind: string }) => kind);
      await page.getByLabel('Kind').selectOption('scout');
      const scouts = kinds.filter((kind) => kind === 'scout').length;
      await expect.poll(() => rowCount(page)).toBe(scouts);
      await page.getByText(`${scouts} of ${kinds.length}`).waitFor();
      await page.getByRole('group', { name: 'Filters' }).getByLabel('MicroDAO').selectOption('microdao:1');
      await page.getByRole('region', { name: 'Legend' }).getByRole('button', { name: 'idle' }).click();
      const asked = query(page);
      expect([asked.get('kind'), asked.get('microdao'), asked.get('status')]).toEqual(['scout', 'microdao:1', 'idle']);
      await page.getByRole('group', { name: 'Filters' }).getByRole('button', { name: 'Clear filters' }).click();
      await expect.poll(() => rowCount(page)).toBe(kinds.length);
      expect(query(page).get('kind')).toBeNull();
    });
  });
});

test('a first visit is introduced once', async () => {
  await on('', async (page) => {
    await page.getByRole('button', { name: 'Got it' }).click();
    await page.getByRole('heading', { name: 'Welcome' }).waitFor({ state: 'detached' });
    await page.reload();
    await page.getByText('Live', { exact: true }).waitFor();
    expect(await page.getByRole('heading', { name: 'Welcome' }).count()).toBe(0);
  });
});

describe('the keyboard', () => {
  test('navigates layers, entities, table and help', async () => {
    await on('', async (page) => {
      await still(page);
      await page.keyboard.press('3');
      await expect.poll(() => query(page).get('layer')).toBe('nodes');
      await still(page);
      await page.locator('.canvas').focus();
      await page.keyboard.press('ArrowRight');
      await expect.poll(() => query(page).get('entity')).toMatch(/^node:/);
      const first = query(page).get('entity');
      await page.keyboard.press('ArrowUp');
      await expect.poll(() => query(page).get('entity')).not.toBe(first);
      await page.keyboard.press('Enter');
      await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe('entity-title');
      await page.keyboard.press('t');
      await page.getByRole('table').waitFor();
      await page.keyboard.press('?');
      await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      expect(query(page).get('entity')).not.toBeNull();
      await page.keyboard.press('Escape');
      await expect.poll(() => query(page).get('entity')).toBeNull();
    });
  });
});

describe('events', () => {
  test('arrive live, can be filtered and paused', async () => {
    await on('', async (page) => {
      const rows = page.locator('#panel .events li');
      await expect.poll(() => rows.count()).toBeGreaterThan(3);
      await page.getByLabel('Filter events').fill('node.metrics');
      const subjects = () =>
        rows.evaluateAll((items) =>
          items.map((item) => `${item.getAttribute('data-subject')} ${item.querySelector('time')?.dateTime}`),
        );
      await expect
        .poll(async () => {
          const shown = await subjects();
          return shown.length > 0 && shown.every((subject) => subject.startsWith('node.metrics.'));
        })
        .toBe(true);
      await page.getByRole('button', { name: 'Pause' }).click();
      const paused = await subjects();
      const before = Number((await (await fetch(`${server.url}living-map/history?limit=1`)).json()).total);
      await expect
        .poll(async () => (await (await fetch(`${server.url}living-map/history?limit=1`)).json()).total, {
          timeout: 20_000,
        })
        .toBeGreaterThan(before + 10);
      expect(await subjects()).toEqual(paused);
      await page.getByRole('button', { name: 'Resume' }).click();
      await expect.poll(subjects).not.toEqual(paused);
    });
  });
});

describe('panels', () => {
  test('health shows no errors on a healthy server', async () => {
    await on('?panel=health', async (page) => {
      await page.getByText(/No\. /).waitFor();
      await page.getByText('table ok').waitFor();
    });
  });

  test.each(['lessons', 'letters'])('%s are listed or reported as unavailable', async (panel) => {
    await on(`?panel=${panel}`, async (page) => {
      await page
        .getByText(/Not available on this server|No lessons yet|No dead letters/)
        .or(page.locator('.panel .rows li').first())
        .waitFor();
    });
  });

  test('a lesson is confirmed; a stale version is reloaded', async () => {
    const lesson = {
      lesson_key: 'l/1',
      agent_id: 'agent:sofia',
      rule: 'error_spike',
      status: 'candidate',
      version: 3,
      title: 'Timeouts of a tool',
      text: 'Call it with a shorter question.',
      evidence: [],
      replay_count: 2,
      signature: 'timeout',
      occurrences: 3,
      first_seen: '2026-01-19T11:50:00Z',
      last_seen: '2026-01-19T12:00:00Z',
      ts: '2026-01-19T12:00:00Z',
    };
    await on(
      '',
      async (page) => {
        const bodies: unknown[] = [];
        let isStale = true;
        await page.route('**/living-map/lessons**', async (route) => {
          if (route.request().method() === 'GET')
            return route.fulfill({ json: { items: isStale || bodies.length < 2 ? [lesson] : [] } });
          bodies.push([new URL(route.request().url()).pathname, route.request().postDataJSON()]);
          if (!isStale) return route.fulfill({ json: { ...lesson, status: 'active' } });
          isStale = false;
          return route.fulfill({ status: 409, json: { detail: 'version 4 is there' } });
        });
        await page.getByRole('link', { name: 'Lessons' }).click();
        await page.getByText('Timeouts of a tool').waitFor();
        await page.getByLabel('Reason').fill('seen it');
        await page.getByRole('button', { name: 'Confirm' }).click();
        await page.getByText('This lesson was changed by someone else').waitFor();
        await page.getByRole('button', { name: 'Confirm' }).click();
        await page.getByText('No lessons yet.').waitFor();
        const asked = ['/living-map/lessons/l%2F1/review', { version: 3, reason: 'seen it', decision: 'confirm' }];
        expect(bodies).toEqual([asked, asked]);
      },
      {},
      true,
    );
  });
});

describe('accessibility', () => {
  const views = [
    '?layer=city',
    '?layer=nodes&entity=node:01',
    '?layer=agents&view=table&entity=agent:sofia',
    '?panel=health',
    '?panel=changes',
  ];

  test.each(views)('%s meets WCAG 2.1 AA, light and dark', async (view) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await on(
        view,
        async (page) => {
          await page.getByText('Live', { exact: true }).waitFor();
          await expect.poll(() => page.locator('.legend .chip').count()).toBe(5);
          expect(await accessibility(page)).toEqual([]);
        },
        { colorScheme },
      );
    }
  });

  test('the page follows the preferred language and sets lang', async () => {
    await on(
      '?layer=agents',
      async (page) => {
        await page.getByRole('link', { name: 'Агенти' }).waitFor();
        expect(await page.locator('html').getAttribute('lang')).toBe('uk');
        expect(await accessibility(page)).toEqual([]);
        await page.getByRole('button', { name: 'Параметри' }).click();
        await page.getByLabel('Мова').selectOption('en');
        await page.getByRole('link', { name: 'Agents' }).waitFor();
        await page.reload();
        await page.getByRole('link', { name: 'Agents' }).waitFor();
      },
      { locale: 'uk-UA' },
    );
  });

  test('nothing is cut off on a narrow screen', async () => {
    await on(
      '?entity=agent:sofia',
      async (page) => {
        await heading(page).waitFor();
        const { scroll, client } = await page.evaluate(() => ({
          scroll: document.documentElement.scrollWidth,
          client: document.documentElement.clientWidth,
        }));
        expect(scroll).toBeLessThanOrEqual(client);
      },
      { viewport: { width: 390, height: 800 } },
    );
  });
});
