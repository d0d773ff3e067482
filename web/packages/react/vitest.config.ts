import { defineConfig } from 'vitest/config';

const modules = new URL('../../node_modules/', import.meta.url).pathname;
/** React 18, beside the React that all else uses; its other half, `react-dom`, takes it from the same folder. */
const react18 = new URL('../react-18/node_modules/', import.meta.url).pathname;

const shared = { unstubGlobals: true, restoreMocks: true };

export default defineConfig({
  test: {
    projects: [
      { test: { ...shared, name: 'react-19', include: ['test/**/*.test.{ts,tsx}'] } },
      {
        resolve: {
          alias: [
            { find: /^(react|react-dom)(?=\/|$)/, replacement: `${react18}$1` },
            // As a module that is read through here, so that it takes the same React.
            {
              find: /^@testing-library\/react$/,
              replacement: `${modules}@testing-library/react/dist/@testing-library/react.esm.js`,
            },
          ],
        },
        test: {
          ...shared,
          name: 'react-18',
          include: ['test/**/*.test.tsx'],
          env: { EXPECT_REACT: '18' },
          server: { deps: { inline: [/@testing-library\/react/] } },
        },
      },
    ],
  },
});
