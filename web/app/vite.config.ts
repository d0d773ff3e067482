import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

const server = process.env.LIVING_MAP ?? 'http://127.0.0.1:7017';

/** Minimum file size for compression (bytes). */
const PACK_FROM = 1024;

/** Writes a precompressed copy next to each file, which the server sends as it is. */
const packed: Plugin = {
  name: 'packed',
  apply: 'build',
  async writeBundle({ dir = '' }, bundle) {
    const pack = async (name: string, content: string | Uint8Array) => {
      if (content.length < PACK_FROM || !name.startsWith('assets/') || name.endsWith('.woff2')) return;
      await writeFile(join(dir, `${name}.br`), await promisify(brotliCompress)(content));
      await writeFile(join(dir, `${name}.gz`), await promisify(gzip)(content, { level: 9 }));
    };
    for (const file of Object.values(bundle)) {
      await pack(file.fileName, file.type === 'chunk' ? file.code : file.source);
    }
  },
};

/** Preloads the scripts that the entry script imports. */
const early: Plugin = {
  name: 'early',
  apply: 'build',
  transformIndexHtml: {
    order: 'post',
    handler: (_, { bundle = {} }) =>
      ['load', 'main', 'react'].flatMap((name) =>
        Object.values(bundle)
          .filter((file) => file.type === 'chunk' && file.name === name)
          .map(({ fileName }) => ({
            tag: 'link',
            attrs: { rel: 'modulepreload', href: `./${fileName}` },
            injectTo: 'head' as const,
          })),
      ),
  },
};

export default defineConfig({
  // Relative, since a proxy may serve the page under a path.
  base: './',
  plugins: [packed, early],
  resolve: {
    alias: { '@living-map/react': fileURLToPath(new URL('../packages/react/src/index.ts', import.meta.url)) },
  },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    // `early` preloads the necessary modules.
    modulePreload: false,
    rollupOptions: {
      // "use client" matters only for React server components.
      onwarn: (warning, warn) => warning.code === 'MODULE_LEVEL_DIRECTIVE' || warn(warning),
      // Separate chunks for dependencies, which stay cached across releases.
      output: {
        manualChunks: (id) => {
          // Otherwise the preload helper may end up in a large chunk that the entry script would have to wait for.
          if (id.includes('vite/preload-helper')) return 'load';
          if (/node_modules\/(react|react-dom|scheduler)\//.test(id)) return 'react';
          if (/node_modules\/(@deck\.gl|@luma\.gl|@math\.gl|@loaders\.gl|@probe\.gl|mjolnir\.js)\//.test(id))
            return 'graphics';
          return undefined;
        },
      },
    },
    chunkSizeWarningLimit: 1200,
  },
  // `npm run dev` proxies to the server in LIVING_MAP, which compares `Origin` with `Host`. Browsers that send no
  // `Sec-Fetch-Site` with a WebSocket need both to be rewritten.
  server: { proxy: { '/living-map': { target: server, ws: true, changeOrigin: true, rewriteWsOrigin: true } } },
});
