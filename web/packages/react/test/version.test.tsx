import { version } from 'react';
import { version as versionOfDom } from 'react-dom';
import { expect, test } from 'vitest';

test('the tests use the intended React version', () => {
  const major = process.env.EXPECT_REACT ?? '19';
  expect(version).toMatch(new RegExp(`^${major}\\.`));
  expect(versionOfDom).toBe(version);
});
