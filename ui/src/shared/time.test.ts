import { expect, test } from 'vitest';
import { ago, exact, moment, span } from './time';

test('ago', () => {
  const now = 1_000_000_000;
  expect(ago(now, now)).toBe('now');
  expect(ago(now - 5_000, now)).toBe('5 s');
  expect(ago(now - 119_000, now)).toBe('1 min');
  expect(ago(now - 26 * 3_600_000, now)).toBe('1 d');
  expect(ago(now + 60_000, now)).toBe('in 1 min');
});

test('span', () => {
  expect(span(12)).toBe('12 ms');
  expect(span(125_000)).toBe('2 min 5 s');
  expect(span(90_061_000)).toBe('1 d 1 h');
});

test('exact leaves what is no time as it is', () => {
  expect(exact('soon')).toBe('soon');
  expect(exact('2026-01-02T03:04:05Z')).toContain('2026-01-02T03:04:05.000Z');
});

test('moment', () => {
  const now = new Date(2026, 4, 6, 12, 0, 0);
  expect(moment(new Date(2026, 4, 6, 1, 2, 3, 4), now)).toBe('01:02:03.004');
  expect(moment(new Date(2026, 4, 5, 1, 2, 3, 4), now)).toBe('05-05 01:02:03');
  expect(moment(new Date(2025, 4, 6, 1, 2, 3), now)).toBe('2025-05-06 01:02');
  expect(moment(new Date(''), now)).toBe('');
});
