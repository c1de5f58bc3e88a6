import { expect, test } from 'vitest';
import { cut, plain, visible } from './visible';

test('controls are shown', () => {
  expect(plain('a\u001b[31mb')).toBe('a‹ESC›[31mb');
  expect(plain('a\nb\t')).toBe('a‹LF›b‹TAB›');
  expect(plain('\u007f')).toBe('‹DEL›');
});

test('characters that turn the order or are not seen are shown', () => {
  expect(plain('x\u202egpj.exe')).toBe('x‹U+202E›gpj.exe');
  expect(plain('a\u200bb')).toBe('a‹U+200B›b');
  expect(plain('\u{e0041}')).toBe('‹U+E0041›');
});

test('ordinary text stays one piece', () => {
  expect(visible('<b>größe 模型 🦙</b>')).toEqual([{ text: '<b>größe 模型 🦙</b>' }]);
  expect(visible('')).toEqual([]);
});

test('cut does not split a character', () => {
  expect(cut('ab🦙', 3)).toBe('ab');
  expect(cut('ab🦙', 4)).toBe('ab🦙');
});
