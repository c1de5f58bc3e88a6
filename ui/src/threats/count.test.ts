import { expect, test } from 'vitest';
import type { Covered } from '../api/types';
import { chosen, count, lacks } from './count';

const entry = (id: string, coverage: Covered['coverage'], more: Partial<Covered> = {}): Covered => ({ id, group: 'g', title: 'T ' + id, atlas: ['AML.T0001'], attack: [], rules: ['r'], coverage, techniques: [{ framework: 'atlas', id: 'AML.T0001', name: 'One' }], needs: ['exec'], ...more });
const items = [entry('A', 'seen'), entry('B', 'dark', { group: 'h', atlas: ['AML.T0001', 'AML.T0002'], attack: ['T1'], gap: 'why' }), entry('C', 'dark', { atlas: [] })];

test('entries are counted by group and by technique', () => {
  expect(count(items, 'group')).toEqual([{ key: 'g', name: undefined, seen: 1, partly: 0, dark: 1 }, { key: 'h', name: undefined, seen: 0, partly: 0, dark: 1 }]);
  expect(count(items, 'atlas').map((c) => [c.key, c.name, c.seen, c.dark])).toEqual([['AML.T0001', 'One', 1, 1], ['AML.T0002', undefined, 0, 1]]);
});

test('filters go together', () => {
  const ids = (f: object) => chosen(items, { by: 'group', key: '', coverage: '', q: '', ...f }).map((c) => c.id);
  expect(ids({})).toEqual(['A', 'B', 'C']);
  expect(ids({ coverage: 'dark', key: 'g' })).toEqual(['C']);
  expect(ids({ by: 'attack', key: 'T1' })).toEqual(['B']);
  expect(ids({ q: 'WHY' })).toEqual(['B']);
});

test('what hosts lack', () => {
  expect(lacks(items[0]!)).toBe('');
  expect(lacks(entry('D', 'seen', { missing: { exec: ['n1'] } }))).toBe('all');
  expect(lacks(entry('D', 'seen', { needs: ['exec', 'net'], missing: { exec: ['n1'] } }))).toBe('some');
  expect(lacks(entry('D', 'seen', { unloaded: ['r'] }))).toBe('all');
});
