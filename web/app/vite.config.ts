import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

const server = process.env.LIVING_MAP ?? 'http://127.0.0.1:7017';

/** Less is not worth a second form of a file. Bytes. */
const PACK_FROM = 1024;

/** Each file compressed beside it, as well as can be: the server hands that out as it is. */
const packed: Plugin = {
  name: 'packed',
  apply: 'build',
  async writeBundle({ dir = '' }, bundle) {
    const pack = async (name: string, content: string | Uint8Array) => {
      if (content.length < PACK_FROM || !name.startsWith('assets/')) return;
      await writeFile(join(dir, `${name}.br`), await promisify(brotliCompress)(content));
      await writeFile(join(dir, `${name}.gz`), await promisify(gzip)(content, { level: 9 }));
    };
    for (const file of Object.values(bundle)) {
      await pack(file.fileName, file.type === 'chunk' ? file.code : file.source);
    }
  },
};

/** The scripts that the first one asks for are on their way before it does. */
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
  // The page may stand under a path of somebody's proxy.
  base: './',
  plugins: [packed, early],
  resolve: {
    alias: { '@living-map/react': fileURLToPath(new URL('../packages/react/src/index.ts', import.meta.url)) },
  },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    // What is needed early is named in `early`.
    modulePreload: false,
    rollupOptions: {
      // "use client" is for servers that render React; there is none here.
      onwarn: (warning, warn) => warning.code === 'MODULE_LEVEL_DIRECTIVE' || warn(warning),
      // Of what changes seldom files of their own, so that a new build of ours is a small download.
      output: {
        manualChunks: (id) => {
          // The bundler's helper would else stand in one of the large files, for which the first script would wait.
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
  worker: { format: 'es' },
  // `npm run dev` shows the map of the server that LIVING_MAP names.
  server: { proxy: { '/living-map': { target: server, ws: true, changeOrigin: true } } },
});
