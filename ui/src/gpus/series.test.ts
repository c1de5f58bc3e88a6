import { expect, test } from 'vitest';
import { heaviest, queryOf, series, together } from './series';

const rows = [
  { _time: '2026-01-01T00:01:00Z', util: '50', name: 'b' }, { _time: '2026-01-01T00:00:00Z', util: '97', name: 'a' },
  { _time: '2026-01-01T00:01:00Z', util: '', name: 'a' }, { _time: 'never', util: '1', name: 'a' },
];
const by = (r: Record<string, string>) => ({ key: r.name!, label: 'the ' + r.name });

test('rows become lines over the times of all', () => {
  const s = series(rows, 'util', 10, by);
  expect(s.times).toEqual([1767225600, 1767225660]);
  expect(s.lines).toEqual([{ key: 'b', label: 'the b', values: [null, 5] }, { key: 'a', label: 'the a', values: [9.7, null] }]);
  expect(heaviest(s, 1).lines.map((l) => l.key)).toEqual(['a']);
  expect(series([], 'util', 1, by)).toEqual({ times: [], lines: [] });
});

test('series with other times stand together', () => {
  const one = { times: [1, 3], lines: [{ key: 'a', label: 'a', values: [10, 30] }] };
  const two = { times: [2], lines: [{ key: 'b', label: 'b', values: [20] }] };
  expect(together(one, two)).toEqual({ times: [1, 2, 3], lines: [{ key: 'a', label: 'a', values: [10, null, 30] }, { key: 'b', label: 'b', values: [null, 20, null] }] });
});

test('a name cannot leave its quotes', () => {
  expect(queryOf('h" or *', 'GPU-1', '1h')).toContain('host:="h\\" or *" gpu.uuid:="GPU-1"');
});
