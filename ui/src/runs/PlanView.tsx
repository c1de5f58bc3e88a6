import type { Act, Cost, Plan } from '../api/types';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';
import { classWords, describe, lasts, reach } from './describe';

/** Choice is which acts of a plan are left out, for a reader who may change that. */
export interface Choice { out: string[]; set: (out: string[]) => void; busy: boolean }

/** PlanView says what a plan would do, to what, for how long and how it is taken back. */
export function PlanView({ plan, choice }: { plan: Plan; choice?: Choice }) {
  return (
    <div data-testid="plan">
      <p><Class of={plan.class} /> <span className="quiet">{reach(plan)}</span></p>
      {plan.warnings.map((w) => <p key={w} className="warning"><Value text={w} max={300} /></p>)}
      {(plan.tags ?? []).length > 0 && <p>Tags: {plan.tags?.map((t) => <span key={t} className="note">{plain(t)}</span>)}</p>}
      <Costs costs={plan.costs ?? []} />
      {choice && plan.acts.some((a) => a.id) && <p className="quiet small">What is not ticked is left out of the plan, which gets another hash by that. <button type="button" className="more" disabled={choice.busy || choice.out.length === 0} onClick={() => choice.set([])}>tick all</button></p>}
      <ol className="acts" aria-busy={choice?.busy}>{plan.acts.map((a, n) => <One key={n} a={a} before={plan.acts[n - 1]} choice={choice} />)}</ol>
      {plan.questions.map((q) => <p key={q.step}><b>It asks:</b> <Value text={q.text} max={400} /></p>)}
      {Object.keys(plan.given).length > 0 && (
        <details><summary>Values that it is given</summary>
          <dl className="facts">{Object.entries(plan.given).map(([k, v]) => <div key={k}><dt className="mono">{plain(k)}</dt><dd><Value text={v} mono max={200} /></dd></div>)}</dl>
        </details>
      )}
      <p className="quiet small">Plan <span className="mono" data-testid="hash">{plan.hash}</span></p>
    </div>
  );
}

/** Class says by word and colour how much harm an act can do. */
export function Class({ of }: { of: Act['class'] }) {
  return <span className={'note class ' + of} title={classWords[of]}>{of}: {classWords[of]}</span>;
}

/** Costs says what a plan would cost, each with what that is known from. */
function Costs({ costs }: { costs: Cost[] }) {
  if (costs.length === 0) return null;
  return (
    <dl className="facts" data-testid="costs" aria-label="What it would cost">
      {costs.map((c, n) => (
        <div key={n}>
          <dt>{plain(c.what)}{c.of && <span className="quiet"> <Value text={c.of} max={100} /></span>}</dt>
          <dd><Value text={c.value} max={300} /><div className="quiet small"><Value text={c.evidence} max={400} /></div></dd>
        </div>
      ))}
    </dl>
  );
}

const shown = 10;

function One({ a, before, choice }: { a: Act; before?: Act; choice?: Choice }) {
  const out = choice && a.id ? choice.out.includes(a.id) : a.left_out;
  const toggle = () => choice?.set(out ? choice.out.filter((id) => id !== a.id) : [...choice.out, a.id ?? '']);
  const when = a.when.join(', and ');
  const hits = a.hits.slice(0, shown);
  return (
    <li className={out ? 'out' : undefined}>
      {when !== (before?.when.join(', and ') ?? '') && <div className="when">{when ? <>If <Value text={when} max={300} />:</> : 'In any case:'}</div>}
      {choice && a.id && <input type="checkbox" className="pick" checked={!out} disabled={choice.busy} onChange={toggle} aria-label={`${plain(a.kind)} ${plain(describe(a.target, a.params))}`} />}
      <b>{plain(a.kind)}</b> <Value text={a.name} max={120} /> {out ? <span className="note">left out: not done</span> : <Class of={a.class} />}
      {a.kind !== 'undo' && <div>{a.text ? <Value text={a.text} max={800} /> : <Value text={describe(a.target, a.params)} mono max={200} />}{a.ttl ? <span className="quiet"> for {lasts(a.ttl)}, then taken back by itself</span> : null}</div>}
      {!out && a.effects.map((e) => <div key={e} className="quiet"><Value text={e} max={300} /></div>)}
      {!out && hits.length > 0 && <ul className="hits" aria-label="What it reaches">{hits.map((h, n) => <li key={n}><Value text={h} mono max={160} /></li>)}{a.hits.length > shown && <li className="quiet">{a.hits.length - shown} more</li>}</ul>}
      {!out && a.undo && <div className="quiet small">Taken back: <Value text={a.undo} max={200} /></div>}
      {a.gone && <div className="warning small">Gone: <Value text={a.gone} max={300} /></div>}
      {a.open && <div className="warning small">Not known yet: <Value text={a.open} max={300} /></div>}
      {a.error && <div className="warning small">Its agent could not plan it, so it would not be done: <Value text={a.error} max={300} /></div>}
    </li>
  );
}
