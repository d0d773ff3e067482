import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const server = process.env.LIVING_MAP ?? 'http://127.0.0.1:7017';

export default defineConfig({
  // The page may stand under a path of somebody's proxy.
  base: './',
  resolve: {
    alias: { '@living-map/react': fileURLToPath(new URL('../packages/react/src/index.ts', import.meta.url)) },
  },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    // One file of what changes seldom, so that a new build of ours is a small download.
    rollupOptions: {
      // "use client" is for servers that render React; there is none here.
      onwarn: (warning, warn) => warning.code === 'MODULE_LEVEL_DIRECTIVE' || warn(warning),
      output: { manualChunks: (id) => (id.includes('node_modules') ? 'vendor' : undefined) },
    },
    chunkSizeWarningLimit: 1200,
  },
  worker: { format: 'es' },
  // `npm run dev` shows the map of the server that LIVING_MAP names.
  server: { proxy: { '/living-map': { target: server, ws: true, changeOrigin: true } } },
});
