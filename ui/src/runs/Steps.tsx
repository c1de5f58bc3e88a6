import { useRecords } from '../api/respond';
import type { Run } from '../api/types';
import { Failure, Loading } from '../shared/States';
import { Clock, useNow } from '../shared/Time';
import { span } from '../shared/time';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';
import { describe, lasts } from './describe';
import { type Doing, type DoneAct, doings } from './steps';

const marks: Record<Doing['state'], [string, string]> = { 'going on': ['warn', '▶'], asks: ['warn', '?'], waits: ['warn', '…'], done: ['good', '●'], failed: ['bad', '✕'] };

/** Steps tells what a run did so far: what went in, what came out, how long it took and what was kept. */
export function Steps({ run, names }: { run: Run; names: Record<string, string> }) {
  const records = useRecords(run.id);
  if (records.isError) return <Failure what="Reading what happened" error={records.error} retry={() => void records.refetch()} />;
  if (records.isPending) return <Loading rows={3} />;
  const list = doings(records.data.items);
  return (
    <>
      {list.length === 0 && <p className="quiet">Nothing was begun yet.</p>}
      <ol className="acts" data-testid="steps">{list.map((d) => <One key={d.task} d={d} name={names[d.step] ?? ''} over={Boolean(run.ended)} />)}</ol>
      <details>
        <summary>All {records.data.items.length} records</summary>
        <table className="grid"><tbody>
          {records.data.items.map((r) => <tr key={r.seq}><td className="n num">{r.seq}</td><td><Clock at={r.time} /></td><td>{plain(r.what)}</td><td><Value text={r.who ?? ''} max={60} /></td><td><Value text={r.text} max={300} /></td></tr>)}
        </tbody></table>
      </details>
    </>
  );
}

function One({ d, name, over }: { d: Doing; name: string; over: boolean }) {
  const now = useNow();
  const [mood, mark] = marks[d.state];
  const took = (d.ended ? Date.parse(d.ended) : now) - Date.parse(d.begun);
  return (
    <li>
      <span className={'state ' + mood}><span aria-hidden="true">{mark}</span> {d.state}</span> <b><Value text={name || d.step || d.task} max={120} /></b>{' '}
      <span className="quiet small"><Clock at={d.begun} />{(d.ended || !over) && <>, {span(took)}</>}</span>
      {d.question && <div className="lines"><Value text={d.question} max={800} /></div>}
      {d.answers.map((a, n) => <div key={n}><b><Value text={a.who} max={60} /></b>: <Value text={a.text} max={400} /><Values of={a.values} /></div>)}
      {d.acts.map((a) => <ActLine key={a.request.id} a={a} over={Boolean(d.ended)} />)}
      {d.text && <div className={d.state === 'failed' ? 'warning' : 'quiet'}><Value text={d.text} max={500} /></div>}
      <Values of={d.values} />
    </li>
  );
}

function Values({ of }: { of?: Record<string, string> }) {
  if (!of || Object.keys(of).length === 0) return null;
  return <dl className="facts small">{Object.entries(of).map(([k, v]) => <div key={k}><dt className="mono">{plain(k)}</dt><dd><Value text={v} mono max={300} /></dd></div>)}</dl>;
}

function ActLine({ a: { request: q, begun, result }, over }: { a: DoneAct; over: boolean }) {
  return (
    <div className="act">
      <span className="mono">{plain(q.kind)}</span> <Value text={describe(q.target, q.params)} mono max={160} />{q.ttl ? <span className="quiet"> for {lasts(q.ttl)}</span> : null}
      {!result && <span className="quiet">: {over ? 'nothing was done' : 'begun'}</span>}
      {result && <div><b>{plain(result.state)}</b> <span className="quiet small">after {span(Date.parse(result.at) - Date.parse(begun))}</span> <Value text={result.detail} max={400} /></div>}
      {result?.output && !result.evidence?.some((e) => e.path === result.output) && <pre className="output"><Value text={result.output} max={2000} /></pre>}
      {result?.evidence?.map((e) => <div key={e.path} className="small">Evidence <Value text={e.path} mono max={200} /> <span className="quiet">{e.size.toLocaleString('en')} bytes, SHA-256 <span className="mono">{plain(e.sha256)}</span></span></div>)}
    </div>
  );
}
