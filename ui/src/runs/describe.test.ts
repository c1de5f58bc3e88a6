import { expect, test } from 'vitest';
import type { Act, Plan } from '../api/types';
import { changes, describe, lasts, reach } from './describe';

const act = (more: Partial<Act>): Act => ({ step: 's', name: 'n', index: 0, when: [], kind: 'freeze', class: 'reversible', digest: 'd', effects: [], hits: [], ...more });
const plan = (hash: string, ...acts: Act[]): Plan => ({ playbook: 'p', name: 'P', version: 'v', body: 'b', incident: 'i', given: {}, class: 'reversible', acts, questions: [], warnings: [], hash });
const one = act({ target: { host: 'n1', process: { pid: 7, exe: '/bin/sh' }, lineage: true }, hits: ['7 sh', '8 curl'] });

test('what an act is done to', () => {
  expect(describe(one.target)).toBe('process 7 (/bin/sh) and what it started on n1');
  expect(describe({ host: 'n1', container: 'c0ffee00'.repeat(8) })).toBe('container c0ffee00c0ff on n1');
  expect(describe({ host: 'n1', container: 'picket-lab-1685616115' })).toBe('container picket-lab-1685616115 on n1');
  expect(describe({ host: '' }, { method: 'GET', url: 'https://x' })).toBe('GET https://x');
  expect(describe()).toBe('the incident');
  expect(describe({ host: '', object: { of: 'kubernetes', kind: 'pod', namespace: 'prod', name: 'llama-0' } })).toBe('pod prod/llama-0');
  expect(describe({ host: '', object: { of: 'kubernetes', kind: 'pod', container: 'c0ffee00'.repeat(8) } })).toBe('pod of container c0ffee00c0ff');
  expect(lasts(3_600e9)).toBe('1 h');
});

test('the reach of a plan counts each thing once, and not what is only looked at', () => {
  expect(reach(plan('h', one, act({ kind: 'kill', class: 'destructive', target: one.target, hits: ['7 sh'] }), act({ class: 'observe', target: { host: 'n2', container: 'c' } })))).toBe('It reaches 1 target on 1 host, 2 processes or files in all.');
  expect(reach(plan('h', act({ class: 'observe', target: { host: 'n1' } })))).toBe('It changes nothing on any host.');
  expect(reach(plan('h', { ...one, left_out: true }))).toBe('It changes nothing on any host. 1 act of it is left out.');
});

test('a plan of now is set against the one that was shown', () => {
  expect(changes(plan('h', one), plan('h', one))).toEqual([]);
  const gone = act({ ...one, gone: 'it ended' });
  expect(changes(plan('h1', one), plan('h2', gone))).toEqual(['No longer: freeze process 7 (/bin/sh) and what it started on n1', 'Now: freeze process 7 (/bin/sh) and what it started on n1: it ended']);
  expect(changes(plan('h1', one), plan('h2', { ...one, hits: [] }))).toEqual(['What the playbook is given is other than it was.']);
});
