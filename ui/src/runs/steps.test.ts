import { expect, test } from 'vitest';
import type { RunRecord } from '../api/types';
import { doings } from './steps';

const at = (s: number) => `2026-01-01T00:00:0${s}Z`;
const record = (seq: number, what: string, task: string, more: Partial<RunRecord> = {}): RunRecord => ({ seq, time: at(seq), what, task: task || undefined, text: '', ...more });
const request = { id: 'a1', step: 'action--1', kind: 'isolate', target: { host: 'n1', container: 'c' } };

test('a task has what went in, what came out and how long it took', () => {
  const [d] = doings([
    record(1, 'open', ''), record(2, 'intent', '0.1', { step: 'action--1', data: request }),
    record(3, 'outcome', '0.1', { data: { id: 'a1', state: 'done', detail: 'it is', at: at(3) } }), record(4, 'done', '0.1', { data: { vars: { __x__: '1' } } }),
  ]);
  expect(d).toMatchObject({ task: '0.1', step: 'action--1', begun: at(2), ended: at(4), state: 'done', values: { __x__: '1' } });
  expect(d!.acts).toEqual([{ request, begun: at(2), result: { id: 'a1', state: 'done', detail: 'it is', at: at(3) } }]);
});

test('a question stands until it is answered', () => {
  const asked = record(1, 'ask', '0.2', { step: 's', text: 'Is it?' });
  expect(doings([asked])[0]).toMatchObject({ state: 'asks', question: 'Is it?', answers: [] });
  const over = doings([asked, record(2, 'answer', '0.2', { who: 'ada', text: 'no' }), record(3, 'done', '0.2', { data: { failed: 'ada says so' } })])[0]!;
  expect(over).toMatchObject({ state: 'failed', text: 'ada says so', answers: [{ who: 'ada', text: 'no' }] });
});

test('an outcome that nobody knows is told, and older records name the step by the act', () => {
  const [d] = doings([record(1, 'intent', '0.1', { data: request }), record(2, 'outcome', '0.1', { text: 'nobody knows' })]);
  expect(d).toMatchObject({ step: 'action--1', text: 'nobody knows', state: 'going on' });
});
