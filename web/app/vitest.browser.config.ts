import { defineConfig } from 'vitest/config';

// Each file has a server and a browser of its own; one at a time, since drawing without a GPU takes all there is.
export default defineConfig({
  test: {
    include: ['browser/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 90_000,
    expect: { poll: { timeout: 30_000 } },
    hookTimeout: 300_000,
  },
});
