/** Time to the first map, measured when it is presented, not when a script has drawn it. */

/** Median of several loads (ms from the start of the navigation). */
export function median(/** @type {number[]} */ values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

/**
 * Loads the page with an empty cache.
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 * @returns {Promise<{first: number, interactive: number}>} time from the start of the navigation until the first map with
 * data is presented, and until it is interactive (ms)
 */
export async function load(browser, url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  // Element Timing reports when a text is presented: add one in the same frame as the map.
  await page.addInitScript(() => {
    new PerformanceObserver((list) => {
      const [entry] = list.getEntries();
      Object.assign(globalThis, { firstPicture: /** @type {any} */ (entry).renderTime });
    }).observe({ type: 'element', buffered: true });
    new MutationObserver((_, observer) => {
      const { picture } = document.documentElement.dataset;
      if (!picture) return;
      if (!document.querySelector('[elementtiming]')) {
        const text = document.createElement('p');
        text.textContent = 'first picture';
        text.setAttribute('elementtiming', 'picture');
        text.style.cssText = 'position: fixed; top: 0; left: 0; z-index: 99';
        document.body.append(text);
      }
      if (picture === 'first') return;
      Object.assign(globalThis, { interactivePicture: performance.now() });
      observer.disconnect();
    }).observe(document, { attributes: true, attributeFilter: ['data-picture'], subtree: true });
  });
  try {
    await page.goto(url);
    await page.waitForFunction(() => 'firstPicture' in globalThis && 'interactivePicture' in globalThis, null, {
      timeout: 120_000,
    });
    return await page.evaluate(() => {
      const { firstPicture: first, interactivePicture: interactive } = /** @type {any} */ (globalThis);
      return { first, interactive };
    });
  } finally {
    await context.close();
  }
}
