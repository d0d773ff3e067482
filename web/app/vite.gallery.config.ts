import { fileURLToPath } from 'node:url';
import { mergeConfig } from 'vite';
import page from './vite.config.js';

/** The page of all components, which is not part of the page that the server embeds. */
export default mergeConfig(
  { ...page, plugins: [], build: {} },
  {
    root: fileURLToPath(new URL('gallery', import.meta.url)),
    build: { target: 'es2022', outDir: '../../../target/gallery', emptyOutDir: true, chunkSizeWarningLimit: 2000 },
  },
);
