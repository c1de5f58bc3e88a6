import { Group, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import type { Agent, Capability, Heartbeat } from '../api/types';
import { Ago } from '../shared/Time';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';
import { State } from './State';

/** AgentCard is one host: whether it reports, what it can see, and what it has lost. */
export function AgentCard({ a }: { a: Agent }) {
  const h = a.heartbeat;
  return (
    <section className="card section" aria-label={'Agent ' + plain(a.host)}>
      <Group justify="space-between" gap="sm" mb="xs">
        <Group gap="sm">
          <Title order={2} className="mono">{plain(a.host)}</Title>
          <State value={a.status} />
          {a.last_seen && <span className="quiet small">last heard <Ago at={a.last_seen} suffix=" ago" /></span>}
        </Group>
        {h && <span className="quiet small mono">picket {plain(h.version)} · kernel {plain(h.kernel)} · {h.rules} rules</span>}
      </Group>
      {h?.rule_errors?.map((e) => <p key={e} className="warning"><Value text={e} max={300} /></p>)}
      {!h && <p className="quiet">{a.status === 'never' ? 'It was enrolled and has never reported. Is its agent started?' : 'What it last said of itself is not known.'}</p>}
      {h && (
        <div className="pair">
          <Part title="Capabilities"><Capabilities list={h.capabilities} /></Part>
          <div>
            <Guarded h={h} />
            <Part title="Counters"><Counters values={a.counters} /></Part>
          </div>
        </div>
      )}
    </section>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return <div className="part"><Title order={3}>{title}</Title>{children}</div>;
}

function Capabilities({ list }: { list: Capability[] }) {
  const lacking = list.filter((c) => !c.ok).length;
  return (
    <>
      <table className="grid" data-testid="capabilities">
        <thead><tr><th>Sees</th><th>State</th><th>How, or why not</th></tr></thead>
        <tbody>
          {list.map((c) => <tr key={c.name}><td className="mono num">{plain(c.name)}</td><td><State value={c.ok ? 'ok' : 'lacking'} /></td><td><Value text={c.detail} max={240} /></td></tr>)}
        </tbody>
      </table>
      <p className="quiet small">{lacking === 0 ? 'This kernel can do all.' : `${lacking} lacking on this kernel: what rests on it is not seen.`}</p>
    </>
  );
}

const lossy = /drop|lost|error|fail|discard/;
const telling = /received$|findings$|published_events$|spool_event_bytes$|events_sent$/;

/** Counters shows what was lost and what tells most; the rest opens. */
function Counters({ values }: { values: Record<string, number> }) {
  const all = Object.entries(values).sort(([a], [b]) => a.localeCompare(b));
  if (all.length === 0) return <p className="quiet">Nothing was counted yet.</p>;
  const first = [...all.filter(([k]) => lossy.test(k)), ...all.filter(([k]) => !lossy.test(k) && telling.test(k))];
  const rest = all.filter((x) => !first.includes(x));
  return (
    <>
      {first.length > 0 && <CounterTable rows={first} />}
      {rest.length > 0 && <details open={first.length === 0}><summary>{first.length > 0 ? `${rest.length} more` : 'All'}</summary><CounterTable rows={rest} /></details>}
    </>
  );
}

function CounterTable({ rows }: { rows: [string, number][] }) {
  return (
    <table className="grid">
      <thead><tr><th>Counter</th><th className="n">Value</th></tr></thead>
      <tbody>
        {rows.map(([k, n]) => (
          <tr key={k} className={lossy.test(k) && n > 0 ? 'loss' : ''}>
            <td className="mono">{plain(k)}{lossy.test(k) && n > 0 && <span className="note bad">loss</span>}</td><td className="n num">{n.toLocaleString('en')}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Guarded({ h }: { h: Heartbeat }) {
  return (
    <>
      <Part title="AI workloads">
        {h.workloads?.length
          ? <ul className="plain">{h.workloads.map((w) => <li key={w.id}><Value text={w.name} max={80} /> <span className="quiet small">{plain(w.kind)} · {plain(w.engine)}</span></li>)}</ul>
          : <p className="quiet">None runs now.</p>}
      </Part>
      <Part title="Models and datasets">
        {h.models?.length
          ? <ul className="plain">{h.models.map((m) => <li key={m.path}><Value text={m.name} max={80} /> <span className="quiet small">{m.dataset ? 'dataset' : plain(m.format ?? 'model')}</span><div className="small"><Value text={m.path} mono max={120} /></div></li>)}</ul>
          : <p className="quiet">None is known. Servers that start make theirs known; others are named in the configuration.</p>}
      </Part>
    </>
  );
}
