/** PNG files with a palette, a third as large as those of the browser. */

import { crc32, deflateSync } from 'node:zlib';

const COLORS = 64;

/**
 * Encodes a picture with the colours that represent it best; each other one becomes the nearest of them.
 * @param {{ width: number, height: number, data: Buffer }} picture opaque RGBA
 * @returns {Buffer}
 */
export function indexedPng({ width, height, data }) {
  const colorAt = (/** @type {number} */ pixel) => data.readUIntBE(pixel * 4, 3);
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (let pixel = 0; pixel < width * height; pixel++) {
    const color = colorAt(pixel);
    counts.set(color, (counts.get(color) ?? 0) + 1);
  }
  const { colors, indices } = paletteOf(counts);
  // Each row begins with its filter: none.
  const rows = Buffer.alloc((width + 1) * height);
  for (let pixel = 0; pixel < width * height; pixel++)
    rows[pixel + Math.floor(pixel / width) + 1] = indices.get(colorAt(pixel)) ?? 0;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // 8 bits, palette.
  header.set([8, 3], 8);
  const entries = Buffer.alloc(colors.length * 3);
  for (const [at, color] of colors.entries()) entries.writeUIntBE(color, at * 3, 3);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('PLTE', entries),
    chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/**
 * Chooses colours one after the other: always that with most pixels, weighted by its distance to those already chosen.
 * @param {Map<number, number>} counts pixels by colour
 */
function paletteOf(counts) {
  const all = [...counts].map(([color, count]) => ({ color, count, index: 0, distance: Number.POSITIVE_INFINITY }));
  const weight = (/** @type {typeof all[number]} */ { count, distance }) => distance * Math.sqrt(count);
  /** @type {number[]} */
  const colors = [];
  while (colors.length < COLORS) {
    const { color, distance } = all.reduce((a, b) => (weight(b) > weight(a) ? b : a));
    if (distance === 0) break;
    for (const one of all) {
      const found = distanceOf(one.color, color);
      if (found < one.distance) Object.assign(one, { distance: found, index: colors.length });
    }
    colors.push(color);
  }
  return { colors, indices: new Map(all.map(({ color, index }) => [color, index])) };
}

const distanceOf = (/** @type {number} */ a, /** @type {number} */ b) =>
  [16, 8, 0].reduce((sum, shift) => sum + (((a >> shift) & 255) - ((b >> shift) & 255)) ** 2, 0);

/**
 * @param {string} type
 * @param {Buffer} content
 */
function chunk(type, content) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), content]);
  const result = Buffer.alloc(body.length + 8);
  result.writeUInt32BE(content.length, 0);
  body.copy(result, 4);
  result.writeUInt32BE(crc32(body), body.length + 4);
  return result;
}
