import type { Act, ActClass, Plan, RunState, Target } from '../api/types';
import { span } from '../shared/time';

/** short cuts an id of a container that is a digest; other names are somebody's own. */
export const short = (id: string) => (id.length === 64 ? id.slice(0, 12) : id);

/** describe names what an act is done to. */
export function describe(t?: Target, params?: Record<string, string>): string {
  if (t?.container) return `container ${short(t.container)} on ${t.host}` + (t.address ? ` and ${t.address}` : '');
  if (t?.cgroup) return `cgroup ${t.cgroup} on ${t.host}`;
  if (t?.process) return `process ${t.process.pid}${t.process.exe ? ` (${t.process.exe})` : ''}${t.lineage ? ' and what it started' : ''} on ${t.host}` + (t.address ? ` and ${t.address}` : '');
  if (t?.file) return `file ${t.file.path} on ${t.host}`;
  if (t?.object) return object(t.object);
  if (params?.url) return `${params.method ?? ''} ${params.url}`.trim();
  return 'the incident';
}

function object(o: NonNullable<Target['object']>): string {
  if (!o.name) return `${o.kind} of container ${short(o.container ?? '')}`;
  return `${o.of === 'slurm' ? 'Slurm ' : ''}${o.kind} ${o.namespace ? o.namespace + '/' : ''}${o.name}`;
}

/** lasts writes a length of time of the API, which is in nanoseconds. */
export const lasts = (ns: number) => span(ns / 1e6);

export const classWords: Record<ActClass, string> = {
  observe: 'changes nothing that runs', reversible: 'can be taken back', destructive: 'cannot be taken back',
};

export const stateMood: Record<RunState, 'good' | 'warn' | 'bad'> = {
  suggested: 'warn', waiting: 'warn', running: 'good', succeeded: 'good', failed: 'bad', rejected: 'bad', expired: 'bad', cancelled: 'warn',
};

const plural = (n: number, one: string) => `${n} ${one}${n === 1 ? '' : one.endsWith('s') ? 'es' : 's'}`;

/** reach sums up what a plan would touch, over all its branches: the blast radius. */
export function reach(p: Plan): string {
  const hosts = new Set<string>();
  const targets = new Set<string>();
  const hits = new Set<string>();
  for (const a of p.acts) {
    if (a.left_out || a.class === 'observe' || (!a.target?.host && !a.target?.object)) continue;
    const where = a.target.host || (a.target.object?.of ?? '');
    hosts.add(where);
    targets.add(describe(a.target));
    for (const h of a.hits) hits.add(where + ' ' + h);
  }
  const without = p.acts.filter((a) => a.left_out).length;
  const left = without > 0 ? ` ${plural(without, 'act')} of it ${without === 1 ? 'is' : 'are'} left out.` : '';
  if (targets.size === 0) return 'It changes nothing on any host.' + left;
  const hit = hits.size > 0 ? `, ${plural(hits.size, 'process or file').replace('process or files', 'processes or files')} in all` : '';
  return `It reaches ${plural(targets.size, 'target')} on ${plural(hosts.size, 'host')}${hit}.${left}`;
}

// What the hash of a plan covers of an act, as far as a reader can tell two apart by it.
const same = (a: Act) => JSON.stringify([a.playbook, a.step, a.index, a.kind, a.target, a.params, a.ttl, a.text, a.open, a.gone, a.digest, a.left_out]);

/** changes says how a plan made now differs from the one that was shown. */
export function changes(shown: Plan, now: Plan): string[] {
  if (shown.hash === now.hash) return [];
  const line = (a: Act) => `${a.kind} ${a.text ? a.name : describe(a.target, a.params)}` + (a.gone ? `: ${a.gone}` : '') + (a.open ? `: ${a.open}` : '') + (a.left_out ? ': left out' : '');
  const [old, fresh] = [new Set(shown.acts.map(same)), new Set(now.acts.map(same))];
  const out = [
    ...shown.acts.filter((a) => !fresh.has(same(a))).map((a) => 'No longer: ' + line(a)),
    ...now.acts.filter((a) => !old.has(same(a))).map((a) => 'Now: ' + line(a)),
  ];
  if (shown.body !== now.body) out.push('The playbook itself is another one now.');
  return out.length > 0 ? out : ['What the playbook is given is other than it was.'];
}
