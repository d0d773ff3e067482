/**
 * Takes pictures of every view in every state, size, theme and language, and writes them to `target/screenshots` with an
 * `index.html` that shows them side by side. `make screenshots`; `ARGS="--state failing --view city"` takes some of them.
 */

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startBrowser } from '../browser/support.js';
import { startFrozen } from './frozen.js';
import { LANGUAGES, LOGIN, pictureTaker, SIZES, STATES, THEMES, VIEWS } from './views.js';

const folder = fileURLToPath(new URL('../../../target/screenshots/', import.meta.url));
const option = /** @type {const} */ ({ type: 'string', multiple: true });
const { values } = parseArgs({
  options: { state: option, view: option, size: option, theme: option, language: option },
});

/**
 * The values that an option names; without it, all.
 * @template {string} Value
 * @param {keyof typeof values} name
 * @param {readonly Value[]} all
 */
function chosen(name, all) {
  const named = values[name] ?? all;
  const unknown = named.filter((value) => !all.includes(/** @type {Value} */ (value)));
  if (unknown.length > 0) throw new Error(`--${name}: no ${unknown.join()}; there are ${all.join(', ')}`);
  return all.filter((value) => named.includes(value));
}

const names = chosen(
  'view',
  [...VIEWS, LOGIN].map(({ name }) => name),
);
const states = chosen('state', Object.keys(STATES));
const sizes = chosen('size', Object.keys(SIZES));
const themes = chosen('theme', THEMES);
const languages = chosen('language', LANGUAGES);

mkdirSync(folder, { recursive: true });
const browser = await startBrowser();
const takePictures = pictureTaker(browser);
/** @type {string[]} */
const failures = [];
try {
  for (const state of states) {
    const { network } = STATES[state] ?? { network: 'none' };
    const views = (network === 'closed' ? [LOGIN] : VIEWS).filter(({ name }) => names.includes(name));
    if (views.length === 0) continue;
    const server = await startFrozen(network);
    try {
      for (const view of views)
        for (const size of sizes)
          for (const language of languages) {
            const label = [state, view.name, size, language].join('.');
            try {
              const pictures = await takePictures(server.url, { view, state, size, language, themes });
              for (const [theme, picture] of pictures) writeFileSync(join(folder, `${label}.${theme}.png`), picture);
              console.log(label);
            } catch (error) {
              failures.push(`${label}: ${error instanceof Error ? error.message : error}`);
              console.error(failures.at(-1));
            }
          }
    } finally {
      await server.close();
    }
  }
} finally {
  await browser.close();
}
writeFileSync(join(folder, 'index.html'), indexOf(readdirSync(folder).filter((name) => name.endsWith('.png'))));
console.log(`${join(folder, 'index.html')}`);
if (failures.length > 0) process.exitCode = 1;

/** A page with a row for each view in each state. @param {string[]} files */
function indexOf(files) {
  const rows = Object.keys(STATES).flatMap((state) =>
    [...VIEWS, LOGIN].map(({ name }) => {
      const own = files.filter((file) => file.startsWith(`${state}.${name}.`));
      if (own.length === 0) return '';
      const figures = own.map((file) => {
        const [, , size, language, theme] = file.split('.');
        const caption = `${size} ${language} ${theme}`;
        return `<figure><a href="${file}"><img src="${file}" alt="${caption}" loading="lazy"></a><figcaption>${caption}</figcaption></figure>`;
      });
      return `<section><h2>${state}: ${name}</h2>${figures.join('')}</section>`;
    }),
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Screenshots of the Living Map</title>
<style>
  body { font: 14px system-ui; margin: 16px; background: #777; color: #fff }
  section { display: flex; flex-wrap: wrap; gap: 12px; align-items: end }
  h2 { flex: 100%; margin: 16px 0 0 }
  figure { margin: 0 }
  img { display: block; height: 320px }
</style>
${rows.join('\n')}
</html>
`;
}
