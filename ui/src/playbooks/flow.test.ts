import { expect, test } from 'vitest';
import { flow, ways } from './flow';

const action = (on_completion: string, more = {}) => ({ type: 'action', name: 'act', on_completion, ...more });

test('a step leads where it says, and why', () => {
  expect(ways({ type: 'if-condition', on_true: 'a', on_false: 'b', on_completion: 'c' })).toEqual([{ to: 'a', label: 'yes' }, { to: 'b', label: 'no' }, { to: 'c', label: 'after it' }]);
  expect(ways({ type: 'action', on_success: 'x', on_failure: 'x' })).toEqual([{ to: 'x', label: 'done or failed' }]);
});

test('each step stands below all that lead to it', () => {
  const f = flow('s', {
    s: { type: 'start', on_completion: 'a' }, a: { type: 'action', on_success: 'c', on_failure: 'b' }, b: action('c'), c: action('e'), e: { type: 'end' }, lost: { type: 'end' },
  });
  expect(Object.fromEntries(f.nodes.map((n) => [n.id, n.level]))).toEqual({ s: 0, a: 1, b: 2, c: 3, e: 4 });
});

test('a circle is drawn as a way back', () => {
  const f = flow('s', { s: { type: 'start', on_completion: 'w' }, w: { type: 'while-condition', on_true: 'a', on_false: 'e' }, a: action('w'), e: { type: 'end' } });
  expect(f.edges.filter((e) => e.back)).toEqual([{ from: 'a', to: 'w', label: '', back: true }]);
  expect(f.nodes).toHaveLength(4);
});

test('what leads nowhere is left out', () => {
  expect(flow('s', { s: { type: 'start', on_completion: 'gone' } })).toEqual({ nodes: [expect.objectContaining({ id: 's' })], edges: [] });
  expect(flow('gone', {}).nodes).toEqual([]);
});
