// What the fake answers about playbooks, runs, GPUs and threats; runs change as they are told to.
import { readFileSync } from 'node:fs';
import { hostile, incidents } from './data.mjs';

const file = (name) => readFileSync(new URL('../../playbooks/' + name, import.meta.url), 'utf8');
const hash = (c) => c.repeat(64);
const now = () => new Date().toISOString();
const ago = (ms) => new Date(Date.now() - ms).toISOString();

const books = ['contain-weights', 'end-workload'].map((name, n) => {
  const body = JSON.parse(file(name + '.json'));
  return { name, id: body.id, title: body.name, description: body.description, version: body.modified, hash: hash(String(n)), activities: body.playbook_activities, runbook: file(name + '.md'), body };
});
const bookOf = (word) => books.find((b) => b.name === word || b.id === word);

const target = { host: 'gpu-1', process: { pid: 303, exe: '/usr/bin/sh' }, lineage: true };
const steps = (b) => Object.entries(b.body.workflow).filter(([, s]) => s.type === 'action');

/** plan is made anew at each call; of an incident with a higher version it is another one. */
function plan(b, incident, leave = []) {
  const i = incidents.find((x) => x.id === incident);
  const destructive = b.name === 'end-workload';
  const acts = steps(b).map(([step, s], n) => {
    const manual = s.commands[0].type === 'manual';
    const kind = manual ? 'manual' : destructive ? ['freeze', 'capture', 'kill'][n] : ['isolate', 'capture', 'freeze', 'undo'][n % 4];
    return {
      ...(manual ? {} : { id: 'act' + n, left_out: leave.includes('act' + n) || undefined }),
      step, name: s.name, index: 0, when: s.name.includes('hand') ? ['“Cut the workload off the network” fails'] : [], kind, digest: hash('d'), effects: manual ? [] : ['All of it, with what it starts.'],
      class: kind === 'kill' ? 'destructive' : ['freeze', 'isolate'].includes(kind) ? 'reversible' : 'observe', ...(manual ? { text: s.commands[0].command } : { target: { ...target, process: { ...target.process, start: i.version } } }),
      ttl: kind === 'isolate' ? 3600e9 : undefined, hits: manual ? [] : ['303 sh', '306 ' + hostile], undo: kind === 'isolate' ? 'The rule is taken away.' : undefined,
    };
  });
  const classes = acts.filter((a) => !a.left_out).map((a) => a.class);
  return {
    playbook: b.id, name: b.title, version: b.version, body: b.hash, incident, given: { __incident_title__: hostile }, class: ['destructive', 'reversible'].find((c) => classes.includes(c)) ?? 'observe', acts,
    questions: destructive ? [] : [{ step: 'if', text: 'Is it an attack?' }], warnings: [], hash: hash(String((i.version + leave.length) % 10)),
  };
}

const run = (id, book, state, more = {}) => ({
  id, incident: 'inc-steal', state, by: 'ada', reason: 'weights leave', plan: plan(bookOf(book), 'inc-steal'), approvals: [], not_after: new Date(Date.now() + 3.5e6).toISOString(),
  opened: ago(60_000), changed: now(), asks: [], holds: [], ...more,
});
const runs = [run('run-kill', 'end-workload', 'waiting')];
const records = { 'run-kill': [] };
let stopped = '';

const note = (r, what, more) => (records[r.id] ??= []).push({ seq: (records[r.id]?.length ?? 0) + 1, time: now(), what, text: '', ...more });

/** begin does what comes before the first question, and asks it. */
function begin(r) {
  const act = r.plan.acts[0];
  const request = { id: r.id + '-a', step: act.step, kind: act.kind, target: act.target, ttl: act.ttl };
  r.state = 'running';
  note(r, 'intent', { task: '0.1', step: act.step, data: request });
  note(r, 'outcome', { task: '0.1', data: { id: request.id, state: 'done', detail: 'No packet passes.', at: now(), output: hostile, evidence: [{ path: '/var/lib/picket/e.tar.zst', sha256: hash('e'), size: 4096 }] } });
  note(r, 'done', { task: '0.1', text: 'done', data: {} });
  r.holds = [{ request, until: new Date(Date.now() + 3.6e6).toISOString() }];
  r.asks = [{ task: '0.2', step: 'if', what: 'decide', text: 'Is it an attack? ' + hostile, since: now() }];
  note(r, 'ask', { task: '0.2', text: r.asks[0].text });
}

function end(r, state, text) {
  Object.assign(r, { state, asks: [], ended: now(), failure: state === 'failed' ? text : undefined });
  note(r, 'end', { text });
}

const changes = {
  edit: (r, b) => {
    if (b.hash !== r.plan.hash) return 'the plan has another hash';
    Object.assign(r, { plan: plan(bookOf(r.plan.playbook), r.incident, b.leave_out), approvals: [], edited_by: 'admin' });
    note(r, 'edit', { who: 'admin', text: 'plan ' + r.plan.hash });
  },
  approve: (r, b) => {
    if (b.hash !== r.plan.hash) return 'the plan has another hash';
    r.approvals.push({ by: 'admin', at: now(), hash: b.hash, reason: b.reason });
    note(r, 'approve', { who: 'admin', text: b.reason });
    begin(r);
  },
  reject: (r, b) => end(r, r.state === 'running' ? 'failed' : 'rejected', b.reason),
  answer: (r, b) => {
    note(r, 'answer', { task: b.task, who: 'admin', text: b.yes ? 'yes' : 'no' });
    note(r, 'done', { task: b.task, text: 'done', data: { yes: b.yes } });
    end(r, 'succeeded', 'every step was done');
  },
  extend: (r, b) => { r.holds.find((h) => h.request.id === b.act).until = new Date(Date.now() + b.ttl / 1e6).toISOString(); },
  undo: (r) => { r.holds = []; },
};

const gpu = {
  host: 'gpu-1', status: 'ok', uuid: 'GPU-5d1c', index: 0, name: 'NVIDIA H100', driver: 'nvidia 570.86.15', pci: '0000:3b:00.0', source: 'nvml', util: 97, memory_used: 41e9, memory_total: 85e9,
  power: 612_000, power_limit: 700_000, clock_sm: 1980, clock_memory: 2619, temperature: 64, ecc: 1, retired: 2,
  users: [{ pid: 4000, process: 'llama-server', workload: 'llama-3-8b', memory: 40e9, util: 60, type: 'compute' }, { pid: 306, process: hostile, memory: 1e9, util: 37, type: 'compute', mining: 82, reasons: 'steady load' }],
};
export const gpus = { items: [gpu] };

const minutes = Array.from({ length: 60 }, (_, n) => ago((60 - n) * 60_000));
/** history answers the questions of the page of GPUs, or undefined. */
export function history(q) {
  if (q.startsWith('event.kind:="gpu.error"')) return { items: [{ _time: ago(9e5), _msg: 'NVRM: Xid 79: GPU has fallen off the bus', 'event.kind': 'gpu.error' }], took_ms: 1 };
  if (!q.startsWith('event.kind:="gpu.sample"')) return undefined;
  const of = (t, n, more) => ({ _time: t, util: String(50 + Math.round(45 * Math.sin(n / 6))), memory: String(30e9 + n * 1e8), power: String(5e5 + n * 1e3), clock: '1980', clock_memory: '2619', temperature: '64', ecc: '1', ...more });
  if (!q.includes('process.name')) return { items: minutes.map((t, n) => of(t, n)), took_ms: 2 };
  return { items: minutes.flatMap((t, n) => gpu.users.map((u) => of(t, n + u.pid, { 'process.uid': 'u' + u.pid, 'process.name': u.process, 'process.pid': String(u.pid), 'ai.workload.name': u.workload ?? '' }))), took_ms: 2 };
}

const entry = (id, group, title, coverage, more = {}) => ({ id, group, title, coverage, atlas: ['AML.T0025'], attack: ['T1005'], rules: coverage === 'dark' ? [] : ['weights_read_by_stranger'], gap: coverage === 'seen' ? undefined : 'requests are not read', techniques: [{ framework: 'atlas', id: 'AML.T0025', name: 'Exfiltration via Cyber Means' }], needs: coverage === 'dark' ? [] : ['file-open'], ...more });
export const threats = { items: [entry('DX01', 'data exfiltration', 'Weights read by an unexpected process', 'seen', { missing: { 'file-open': ['gpu-2'] } }), entry('RA02', 'resource abuse', 'Stratum handshake to a pool', 'partly'), entry('PA01', 'prompt abuse', 'Prompts of thousands of words', 'dark')] };

/** answer answers a request about playbooks and runs: a status and a body, or undefined where it is about others. */
export function answer(method, path, query, body, publish) {
  const [kind, id, what] = path.split('/').map(decodeURIComponent);
  if (kind === 'respond') {
    if (method === 'PUT') {
      stopped = body.stop ? 'admin' : '';
      publish('respond', { stopped });
    }
    return [200, { stopped: stopped || undefined }];
  }
  if (kind === 'playbooks') {
    if (!id) return [200, { items: books.map(({ runbook: _r, body: _b, ...info }) => info) }];
    const b = bookOf(id);
    if (!b) return [404, 'there is no playbook ' + id];
    if (what === 'plan') return [200, plan(b, body.incident, body.leave_out)];
    if (what === 'simulate') return [200, { playbook: b.name, acts: { isolate: body.incidents.length }, benign: { isolate: 1 }, asked: 0, plans: body.incidents.map((n) => ({ incident: n, title: incidents.find((x) => x.id === n).title, acts: { isolate: 1 } })) }];
    return [200, b];
  }
  if (kind !== 'runs') return undefined;
  if (!id && method === 'POST') {
    const b = bookOf(body.playbook);
    if (plan(b, body.incident, body.leave_out).hash !== body.hash) return [409, 'the plan is another now'];
    const r = run('run-' + runs.length, b.name, 'waiting', { by: 'admin', incident: body.incident, reason: body.reason, plan: plan(b, body.incident, body.leave_out) });
    records[r.id] = [];
    if (r.plan.class !== 'destructive') begin(r);
    runs.unshift(r);
    publish('run', { id: r.id });
    return [200, r];
  }
  if (!id) return [200, { items: runs.filter((r) => (!query.get('incident') || r.incident === query.get('incident')) && (!query.get('open') || !r.ended || r.holds.length)) }];
  const r = runs.find((x) => x.id === id);
  if (!r) return [404, 'there is no run ' + id];
  if (what === 'records') return [200, { items: records[r.id] ?? [] }];
  if (!what) return [200, r];
  const wrong = changes[what](r, body);
  if (wrong) return [409, wrong];
  publish('run', { id: r.id });
  return [200, r];
}
