import { expect, test } from 'vitest';
import { fits, pieces } from './fill';

test('names that have a value are filled in, others stay', () => {
  expect(pieces('show ID on __host__ of __model__', { ID: 'i1', __host__: 'gpu-1' })).toEqual([
    { text: 'show ' }, { text: 'ID', value: 'i1' }, { text: ' on ' }, { text: '__host__', value: 'gpu-1' }, { text: ' of __model__' },
  ]);
  expect(pieces('IDLE __proto__ toString', { ID: 'i1' })).toEqual([{ text: 'IDLE __proto__ toString' }]);
});

test('only a plain word may stand in a command', () => {
  expect(fits('3f2a')).toBe(true);
  expect(fits('/models/llama-3:8b')).toBe(true);
  for (const bad of ['$(reboot)', 'a b', '`id`', "x'y", 'a;b', '--exec', 'a\nb', '', 'x|y', '‮gpj']) expect(fits(bad)).toBe(false);
});
