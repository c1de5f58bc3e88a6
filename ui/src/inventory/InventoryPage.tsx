import { TextInput, Title } from '@mantine/core';
import { useRef, useState } from 'react';
import { useInventory } from '../api/queries';
import type { ModelFile, Running } from '../api/types';
import { short } from '../runs/describe';
import { useKeys } from '../shared/keys';
import { Empty, Failure, Loading } from '../shared/States';
import { Ago } from '../shared/Time';
import { Value } from '../shared/Value';

const text = (r: Running) => [r.host, r.kind, r.engine, r.name, r.container?.id, r.container?.pod_uid, r.job?.id, ...(r.users ?? []), ...(r.gpus ?? []), ...(r.packages ?? []).map((p) => p.name + ' ' + p.version), ...(r.listens ?? []), ...r.files.map((f) => [f.path, f.artifact.verdict, f.artifact.signature, f.artifact.digest].join(' '))].join(' ').toLowerCase();

/** InventoryPage lists the AI workloads that run, with their model files. */
export function InventoryPage() {
  const inventory = useInventory();
  const box = useRef<HTMLInputElement>(null);
  const [q, setQ] = useState('');
  useKeys({ '/': () => box.current?.focus() });
  const items = (inventory.data?.items ?? []).filter((r) => text(r).includes(q.toLowerCase()));
  return (
    <>
      <div className="bar">
        <Title order={1}>Inventory</Title>
        <TextInput ref={box} size="xs" w={240} type="search" aria-label="Search the inventory" placeholder="Search the inventory… ( / )" value={q} onChange={(e) => setQ(e.currentTarget.value)} />
      </div>
      {inventory.isError && <Failure what="Reading the inventory" error={inventory.error} retry={() => void inventory.refetch()} />}
      {inventory.isPending && <Loading />}
      {inventory.isSuccess && items.length === 0 && <Empty title={q ? 'No workload matches' : 'No AI workload runs'}>{q ? 'Take a word away.' : <>Inference servers, training jobs, notebooks and agents are found by themselves, within half a minute.<br />To see one: <code className="try">picket lab attack steal-weights --keep</code></>}</Empty>}
      {items.length > 0 && (
        <div className="card scroll" tabIndex={0} role="region" aria-label="AI workloads that run">
          <table className="grid wide">
            <thead><tr><th>Host</th><th>Kind</th><th style={{ minWidth: 110 }}>Engine</th><th>Workload</th><th>GPUs, ports</th><th>Model files</th><th>Started</th></tr></thead>
            <tbody>{items.map((r) => <Row key={r.host + r.id} r={r} />)}</tbody>
          </table>
        </div>
      )}
    </>
  );
}

function Row({ r }: { r: Running }) {
  return (
    <tr>
      <td className="mono"><Value text={r.host} max={60} /></td>
      <td>{r.kind}</td>
      <td><Value text={r.engine + ' ' + (r.version ?? '')} max={60} />{(r.packages ?? []).map((p) => <div key={p.name} className="quiet small"><Value text={p.name + ' ' + p.version} max={60} /></div>)}</td>
      <td><b><Value text={r.name} max={80} /></b>
        <div className="quiet small"><Value text={r.container ? 'container ' + short(r.container.id) : 'pid ' + r.pid} max={80} />{r.container?.pod_uid && <>, pod <Value text={r.container.pod_uid} max={60} /></>}</div>
        {r.users && r.users.length > 0 && <div className="quiet small">as <Value text={r.users.join(', ')} max={60} /></div>}
        {r.job && <div className="quiet small">job <Value text={r.job.id} max={60} />{r.job.ranks && r.job.ranks.length > 0 && <>, ranks {r.job.ranks.join(' ')}{r.job.size ? ` of ${r.job.size}` : ''}</>}</div>}</td>
      <td className="mono">{(r.gpus ?? []).map((g) => <div key={g}><Value text={g} max={60} /></div>)}{(r.listens ?? []).map((l) => <div key={l}><Value text={l} max={60} /></div>)}</td>
      <td>{r.files.map((f) => <File key={f.path} f={f} />)}{r.files_cut ? <div className="quiet small">{r.files_cut} more</div> : null}</td>
      <td><Ago at={r.started} suffix=" ago" /></td>
    </tr>
  );
}

function File({ f }: { f: ModelFile }) {
  const bad = f.artifact.verdict === 'malicious' || f.artifact.verdict === 'suspicious' || f.artifact.signature === 'invalid';
  const state = f.pending ? 'waiting' : [f.artifact.verdict, f.artifact.signature].filter(Boolean).join(', ');
  return (
    <div className="small">
      <span className="mono" title={f.artifact.digest && 'SHA-256 ' + f.artifact.digest}><Value text={f.path} max={100} /></span>{' '}
      {state && (bad ? <b className="state bad">{state}</b> : <span className="quiet">{state}</span>)}
      {f.artifact.digest && <span className="quiet"> · {f.role} · <span className="mono">{f.artifact.digest.slice(0, 12)}</span></span>}
      {f.artifact.issue && <div><Value text={f.artifact.issue} max={200} /></div>}
    </div>
  );
}
