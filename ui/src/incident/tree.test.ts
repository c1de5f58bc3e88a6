import { expect, test } from 'vitest';
import type { ProcessNode } from '../api/types';
import { depth, layout, levelHeight } from './layout';
import { flat, forest } from './tree';

const p = (uid: string, parent_uid: string | undefined, pid: number): ProcessNode =>
  ({ uid, parent_uid, pid, start: '2026-01-01T00:00:00Z', name: uid, exe: '', cmdline: '' });

const shape = (ps: ProcessNode[]) => flat(forest(ps)).map((x) => ' '.repeat(x.depth) + x.branch.process.uid);

test('parents hold their children', () => {
  expect(shape([p('c', 'b', 3), p('b', 'a', 2), p('d', 'a', 4), p('a', 'gone', 1)])).toEqual(['a', ' b', '  c', ' d']);
});

test('a loop does not hang or lose anyone', () => {
  expect(shape([p('a', 'b', 1), p('b', 'a', 2), p('c', 'a', 3)])).toEqual(['a', ' c', 'b']);
  expect(shape([p('a', 'a', 1)])).toEqual(['a']);
});

test('the same process twice is one', () => {
  expect(shape([p('a', undefined, 1), p('a', undefined, 1)])).toEqual(['a']);
});

test('processes of one level do not overlap, parents stand over their children', () => {
  const roots = forest([p('a', undefined, 1), p('b', 'a', 2), p('c', 'a', 3), p('d', 'c', 4), p('e', 'c', 5), p('z', undefined, 9)]);
  const at = layout(roots, () => 100);
  expect(depth(roots)).toBe(3);
  for (let level = 0; level < 3; level++) {
    const xs = [...at.values()].filter((x) => x.y === level * levelHeight).map((x) => x.x).sort((m, n) => m - n);
    for (let i = 1; i < xs.length; i++) expect(xs[i]! - xs[i - 1]!).toBeGreaterThan(100);
  }
  expect(at.get('c')!.x).toBe((at.get('d')!.x + at.get('e')!.x) / 2);
});
