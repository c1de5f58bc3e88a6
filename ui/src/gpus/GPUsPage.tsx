import { SegmentedControl, Title } from '@mantine/core';
import { Link, useSearchParams } from 'react-router';
import { useFleet, useGPUs } from '../api/queries';
import type { GPU, GPUUser } from '../api/types';
import { Empty, Failure, Loading } from '../shared/States';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';
import { Detail } from './Detail';
import { type Range, ranges } from './series';

const amount = (n: number | null | undefined, unit: string, divide = 1) => (n === null || n === undefined ? '?' : Math.round(n / divide).toLocaleString('en') + ' ' + unit);
const name = (g: GPU) => g.host + '/' + g.uuid;

/** GPUsPage lists the GPUs and who uses them; one that is chosen is shown over time. What is chosen is in the address. */
export default function GPUsPage() {
  const gpus = useGPUs();
  const [params, setParams] = useSearchParams();
  const items = gpus.data?.items ?? [];
  const chosen = items.find((g) => name(g) === params.get('gpu')) ?? items[0];
  const asked = params.get('range') ?? '';
  const range: Range = Object.hasOwn(ranges, asked) ? asked as Range : '1h';
  const set = (k: string, v: string) => setParams((p) => { p.set(k, v); return p; }, { replace: true });
  return (
    <>
      <Title order={1} mb="sm">GPUs</Title>
      {gpus.isError && <Failure what="Reading GPUs" error={gpus.error} retry={() => void gpus.refetch()} />}
      {gpus.isPending && <Loading />}
      {gpus.isSuccess && items.length === 0 && <None />}
      {items.length > 0 && (
        <div className="card scroll" tabIndex={0} role="region" aria-label="GPUs">
          <table className="grid wide">
            <thead><tr><th>Host</th><th>GPU</th><th className="n">Use</th><th className="n">Memory</th><th className="n">Power</th><th className="n">Temp.</th><th className="n">Errors</th><th>Used by</th></tr></thead>
            <tbody>{items.map((g) => <Row key={name(g)} g={g} chosen={g === chosen} choose={() => set('gpu', name(g))} />)}</tbody>
          </table>
        </div>
      )}
      {chosen && (
        <section className="card section" aria-label="Over time" style={{ marginTop: 12 }}>
          <div className="bar"><Title order={2}>{chosen.index} <Value text={chosen.name} max={60} /> of <span className="mono">{plain(chosen.host)}</span></Title>
            <SegmentedControl size="xs" aria-label="Time range" data={Object.keys(ranges)} value={range} onChange={(v) => set('range', v)} /></div>
          <p className="quiet small">{plain(chosen.driver)} · bus {plain(chosen.pci)} · <span className="mono">{plain(chosen.uuid)}</span> · told by {plain(chosen.source)}{chosen.mig ? ` · MIG ${plain(chosen.mig)}` : ''}{chosen.retired ? ` · ${chosen.retired} pages or rows of memory retired` : ''}</p>
          <Detail g={chosen} range={range} />
        </section>
      )}
    </>
  );
}

function Row({ g, chosen, choose }: { g: GPU; chosen: boolean; choose: () => void }) {
  return (
    <tr>
      <td className="mono">{plain(g.host)}{g.status !== 'ok' && <span className="note warn" title="Its agent does not report: this is what it last said">{g.status}</span>}</td>
      <td><button type="button" className="more" aria-pressed={chosen} onClick={choose}>{g.index} {plain(g.name)}</button></td>
      <td className="n num">{amount(g.util, '%')}</td>
      <td className="n num">{amount(g.memory_used, 'MiB', 2 ** 20)} of {amount(g.memory_total, 'MiB', 2 ** 20)}</td>
      <td className="n num">{amount(g.power, 'W', 1000)}</td><td className="n num">{amount(g.temperature, '°C')}</td>
      <td className="n num">{g.ecc === null ? '?' : <span className={g.ecc > 0 ? 'state bad' : ''}>{g.ecc}</span>}</td>
      <td>{g.users.length === 0 && <span className="quiet">nobody</span>}{g.users.map((u) => <User key={u.pid} u={u} host={g.host} />)}</td>
    </tr>
  );
}

function User({ u, host }: { u: GPUUser; host: string }) {
  const q = `host:=${JSON.stringify(host)} process.pid:=${u.pid}`;
  return (
    <div className="small">
      <Link to={`/events?${new URLSearchParams({ q, range: '24h' })}`} className="mono"><Value text={`${u.process}[${u.pid}]`} max={60} /></Link>{' '}
      {u.workload ? <>of <Value text={u.workload} max={60} /></> : <span className="note warn">no AI workload</span>} <span className="quiet num">{amount(u.util, '%')}, {amount(u.memory, 'MiB', 2 ** 20)}</span>
      {u.mining ? <span className={u.mining >= 60 ? 'note bad' : 'note'} title={u.reasons && plain(u.reasons)}>mining {u.mining}</span> : null}
    </div>
  );
}

/** None says why there is no GPU: what each host's agent found, or did not. */
function None() {
  const fleet = useFleet();
  const rows = (fleet.data?.items ?? []).flatMap((a) => (a.heartbeat?.capabilities ?? []).filter((c) => c.name.startsWith('gpu')).map((c) => ({ host: a.host, ...c })));
  return (
    <Empty title="No GPU is seen">
      {fleet.data?.items.length === 0 && <>No agent has reported: <code className="try">picket run</code> starts one on this machine.</>}
      {rows.length > 0 && (
        <table className="grid why"><thead><tr><th>Host</th><th>Source</th><th>Why</th></tr></thead>
          <tbody>{rows.map((r) => <tr key={r.host + r.name}><td className="mono">{plain(r.host)}</td><td className="mono">{plain(r.name)}</td><td><Value text={r.detail} max={300} /></td></tr>)}</tbody></table>
      )}
      <p>NVIDIA's driver has to be loaded, or <code>gpu.library</code> to name its library; other cards show up in <code>/sys/class/drm</code>. <code className="try">picket doctor</code> says more.</p>
    </Empty>
  );
}
