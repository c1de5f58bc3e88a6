import type { ActRequest, ActResult, RunRecord } from '../api/types';

export interface DoneAct { request: ActRequest; begun: string; result?: ActResult }

/** Doing is one task of a run: a step, or one command of it, with what went in and what came out. */
export interface Doing {
  task: string; step: string; begun: string; ended?: string; state: 'going on' | 'asks' | 'waits' | 'done' | 'failed';
  acts: DoneAct[]; question?: string; answers: { who: string; text: string; values?: Record<string, string> }[]; text?: string; skipped?: string; deadline?: boolean; values?: Record<string, string>;
}

/** doings puts the records of a run together by task, in the order in which the tasks began. */
export function doings(records: RunRecord[]): Doing[] {
  const out = new Map<string, Doing>();
  for (const r of records) {
    if (!r.task) continue;
    let d = out.get(r.task);
    if (!d) out.set(r.task, d = { task: r.task, step: '', begun: r.time, state: 'going on', acts: [], answers: [] });
    d.step ||= r.step ?? '';
    take(d, r);
  }
  return [...out.values()].filter((d) => !(d.state === 'waits' && d.deadline)); // one that nothing reached is of no interest
}

function take(d: Doing, r: RunRecord) {
  switch (r.what) {
    case 'intent': {
      const request = r.data as ActRequest;
      d.step ||= request.step ?? '';
      d.acts.push({ request, begun: r.time });
      break;
    }
    case 'outcome': {
      const result = r.data as ActResult | undefined;
      const act = d.acts.find((a) => a.request.id === result?.id);
      if (act && result) act.result = result;
      else d.text = r.text;
      break;
    }
    case 'ask':
      d.question = r.text;
      d.state = 'asks';
      break;
    case 'timer':
      d.deadline = r.text.startsWith('deadline:');
      d.text = r.text.replace(/^(deadline|delay): \S+ /, '');
      d.state = 'waits';
      break;
    case 'answer':
      d.answers.push({ who: r.who ?? '', text: r.text, values: r.data as Record<string, string> | undefined });
      d.state = 'going on';
      break;
    case 'skip':
      d.text = d.skipped = r.text;
      break;
    case 'done': {
      const o = (r.data ?? {}) as { failed?: string; vars?: Record<string, string> };
      d.ended = r.time;
      d.state = o.failed ? 'failed' : 'done';
      d.text = o.failed || d.skipped;
      d.values = o.vars;
    }
  }
}
