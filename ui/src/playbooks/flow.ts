import type { Step } from '../api/types';

export interface Way { to: string; label: string }
export interface Node { id: string; step: Step; label: string; kind: 'end' | 'start' | 'act' | 'ask' | 'fork'; level: number; place: number }
export interface Edge { from: string; to: string; label: string; back: boolean }
export interface Flow { nodes: Node[]; edges: Edge[] }

/** ways says where a step may lead, and when. */
export function ways(s: Step): Way[] {
  const out: Way[] = [];
  const add = (to: string | undefined, label: string) => { if (to) out.push({ to, label }); };
  for (const to of s.next_steps ?? []) add(to, 'at once');
  add(s.on_true, 'yes');
  add(s.on_false, 'no');
  for (const [value, to] of Object.entries(s.cases ?? {})) add(to, value);
  add(s.on_success, 'done');
  add(s.on_failure, 'failed');
  add(s.on_completion, s.type === 'action' || s.type === 'start' ? '' : 'after it');
  const merged = new Map<string, Way>();
  for (const w of out) {
    const old = merged.get(w.to);
    merged.set(w.to, old ? { to: w.to, label: [old.label, w.label].filter(Boolean).join(' or ') } : w);
  }
  return [...merged.values()];
}

const kinds: Record<string, Node['kind']> = { start: 'start', end: 'end', 'if-condition': 'ask', 'while-condition': 'ask', 'switch-condition': 'ask', parallel: 'fork' };

/** flow lays the steps of a playbook out: each below all that lead to it, but for ways back. */
export function flow(start: string, workflow: Record<string, Step>): Flow {
  const edges: Edge[] = [];
  const order: string[] = []; // each after all that it leads to
  const state = new Map<string, 'on' | 'over'>();
  const visit = (id: string) => {
    state.set(id, 'on');
    for (const w of ways(workflow[id]!)) {
      if (!workflow[w.to]) continue;
      const back = state.get(w.to) === 'on';
      edges.push({ from: id, to: w.to, label: w.label, back });
      if (!state.has(w.to)) visit(w.to);
    }
    state.set(id, 'over');
    order.push(id);
  };
  if (workflow[start]) visit(start);
  const level = new Map(order.map((id) => [id, 0]));
  for (const id of [...order].reverse()) {
    for (const e of edges) if (e.from === id && !e.back) level.set(e.to, Math.max(level.get(e.to)!, level.get(id)! + 1));
  }
  const filled = new Map<number, number>();
  const nodes = [...order].reverse().map((id) => {
    const step = workflow[id]!;
    const l = level.get(id)!;
    const place = filled.get(l) ?? 0;
    filled.set(l, place + 1);
    return { id, step, label: step.name ?? step.type, kind: kinds[step.type] ?? 'act', level: l, place };
  });
  return { nodes, edges };
}
