import { defineConfig } from 'vitest/config';

// Each file starts a server and a browser. Sequential, since rendering without a GPU uses all cores.
export default defineConfig({
  test: {
    include: ['browser/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 90_000,
    expect: { poll: { timeout: 30_000 } },
    hookTimeout: 300_000,
  },
});
