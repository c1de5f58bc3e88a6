import { expect, test } from 'vitest';
import { split, suggest, withTerm } from './query';

test('terms are added before pipes, once', () => {
  expect(withTerm('', 'host', 'a b', true)).toBe('host:"a b"');
  expect(withTerm('*', 'host', 'a', true)).toBe('host:"a"');
  expect(withTerm('curl | stats count()', 'host', 'a', false)).toBe('curl !host:"a" | stats count()');
  expect(withTerm('host:"a"', 'host', 'a', true)).toBe('host:"a"');
  expect(withTerm('a or b', 'host', 'x', true)).toBe('(a or b) host:"x"');
});

test('a term replaces its opposite', () => {
  expect(withTerm('x host:"a"', 'host', 'a', false)).toBe('x !host:"a"');
  expect(withTerm('x !host:"a"', 'host', 'a', true)).toBe('x host:"a"');
});

test('hostile values stay inside their quotes', () => {
  expect(withTerm('', 'process.cmdline', 'sh -c "a|b" \\', true)).toBe('process.cmdline:"sh -c \\"a|b\\" \\\\"');
  expect(withTerm('', 'a b:*', 'x', true)).toBe('"a b:*":"x"');
});

test('split ignores pipes in quotes', () => {
  expect(split('"a|b" | c')).toEqual({ search: '"a|b" ', pipes: '| c' });
  expect(split('a')).toEqual({ search: 'a', pipes: '' });
});

test('suggest', () => {
  const fields = [
    { name: 'process.name', type: 'text', doc: '' },
    { name: 'process.cmdline', sigma: 'CommandLine', type: 'text', doc: '' },
    { name: 'host', type: 'text', doc: '' },
  ];
  const names = (q: string) => suggest(q, q.length, fields).fields.map((f) => f.name);
  expect(names('proc')).toEqual(['process.cmdline', 'process.name']);
  expect(names('x CommandL')).toEqual(['process.cmdline']);
  expect(names('host:proc')).toEqual([]);
  expect(names('"a proc')).toEqual([]);
  expect(suggest('a cmd', 5, fields)).toMatchObject({ from: 2 });
});
