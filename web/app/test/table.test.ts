import { describe, expect, test } from 'vitest';
import { compareValues, csvOf, fieldKeys, rowOf, tableItems } from '../src/table/columns';
import { network } from './network';

const layers = network(2, 4, 2);

test('the table of the city lists its agents too', () => {
  const types = tableItems(layers, 'city').map(({ type }) => type);
  expect(new Set(types)).toEqual(new Set(['microdao', 'channel', 'agent']));
  expect(types.length).toBe(2 + 2 + 4);
});

test('there is a column for each fact of any row; unchanged rows keep their identity', () => {
  const rows = tableItems(layers, 'nodes').map((item) => rowOf(layers, item));
  expect(fieldKeys(rows)).toEqual(expect.arrayContaining(['cpu', 'gpu', 'disk', 'temperature']));
  expect(fieldKeys(rows)).not.toContain('ram');
  expect(tableItems(layers, 'nodes').map((item) => rowOf(layers, item))).toEqual(rows);
});

describe('sorting', () => {
  const sorted = (...values: unknown[]) => values.toSorted((a, b) => compareValues(a, b, 'uk'));

  test('numbers by size, texts by the language, missing values last', () => {
    expect(sorted(10, 9, undefined, 100)).toEqual([9, 10, 100, undefined]);
    expect(sorted('Яна', 'Іван', 'node 10', 'node 9')).toEqual(['Іван', 'Яна', 'node 9', 'node 10']);
  });
});

describe('CSV', () => {
  test('quotes what needs it', () => {
    expect(
      csvOf([
        ['a', 'b,c'],
        ['say "hi"', 'two\nlines'],
      ]),
    ).toBe('a,"b,c"\r\n"say ""hi""","two\nlines"\r\n');
  });

  test('a name from the network is no formula', () => {
    expect(csvOf([['=1+1', '@x', '-cmd', '-12.5', '+1']])).toBe("'=1+1,'@x,'-cmd,-12.5,'+1\r\n");
  });
});
