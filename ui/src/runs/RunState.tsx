import { Link } from 'react-router';
import type { Run } from '../api/types';
import { Ago, Until } from '../shared/Time';
import { Value } from '../shared/Value';
import { reach, stateMood } from './describe';
import { Class } from './PlanView';

/** RunMark shows where a run stands by a mark and a word. */
export function RunMark({ run }: { run: Run }) {
  const mood = run.asks.length > 0 ? 'warn' : stateMood[run.state];
  return <span className={'state ' + mood}><span aria-hidden="true">{{ good: '●', warn: '▲', bad: '✕' }[mood]}</span> {run.asks.length > 0 ? 'asks' : run.state}</span>;
}

/** RunList lists runs, each leading to its page. */
export function RunList({ runs, incident = false }: { runs: Run[]; incident?: boolean }) {
  return (
    <ul className="plain runs">
      {runs.map((r) => (
        <li key={r.id}>
          <RunMark run={r} /> <Link to={'/runs/' + encodeURIComponent(r.id)} className="rowlink" data-row><Value text={r.plan.name} max={120} /></Link>{' '}
          <span className="quiet small">by <Value text={r.by} max={60} />, <Ago at={r.opened} suffix=" ago" />{r.holds.length > 0 && <>, holds {r.holds.length}</>}</span>
          {r.asks.map((a) => <div key={a.task} className="small"><Value text={a.text} max={160} /></div>)}
          {incident && (r.state === 'waiting' || r.state === 'suggested') && <div className="small"><Class of={r.plan.class} /> {reach(r.plan)}{r.not_after && <span className="quiet"> Expires <Until at={r.not_after} />.</span>}</div>}
          {incident && <div className="small">{r.reason && <><Value text={r.reason} max={160} />{' · '}</>}<Link to={'/incidents/' + encodeURIComponent(r.incident)}>incident {r.incident.slice(0, 8)}</Link></div>}
        </li>
      ))}
    </ul>
  );
}
