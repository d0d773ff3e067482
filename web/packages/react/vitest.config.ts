import { defineConfig } from 'vitest/config';

const modules = new URL('../../node_modules/', import.meta.url).pathname;
/** React 18, next to the React of the other tests; its `react-dom` resolves `react` from the same folder. */
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
            // Inlined, so that the alias applies to it and it uses the same React.
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
