import { useMemo, useState } from 'react';
import type { Incident, ProcessNode } from '../api/types';
import { Ago } from '../shared/Time';
import { Value } from '../shared/Value';
import { ProcessGraph } from './ProcessGraph';
import { flat, forest } from './tree';

/** Processes shows the tree as a graph, as a list, and one process in full. */
export function Processes({ incident }: { incident: Incident }) {
  const acting = useMemo(() => new Set(incident.findings.map((f) => f.process ?? '').filter(Boolean)), [incident.findings]);
  const rows = useMemo(() => flat(forest(incident.processes)), [incident.processes]);
  const [uid, setUid] = useState<string>();
  const chosen = incident.processes.find((p) => p.uid === uid) ?? incident.processes.find((p) => acting.has(p.uid)) ?? incident.processes[0];
  if (rows.length === 0) return <p className="quiet">No process is known: the findings came without one.</p>;
  return (
    <div className="processes">
      <ProcessGraph processes={incident.processes} acting={acting} chosen={chosen?.uid} choose={setUid} />
      <div className="beside">
        <ul className="tree" aria-label="Processes, each below the one that started it">
          {rows.map(({ branch: { process: p }, depth }) => (
            <li key={p.uid} style={{ paddingLeft: Math.min(depth, 12) * 14 }}>
              <button type="button" aria-pressed={p.uid === chosen?.uid} className={acting.has(p.uid) ? 'acting' : ''} onClick={() => setUid(p.uid)}>
                <span className="mono"><Value text={p.name} max={40} /> <span className="quiet">{p.pid}</span></span>
                {acting.has(p.uid) && <span className="note bad">finding</span>}
                {p.drift && <span className="note warn">drift</span>}
              </button>
            </li>
          ))}
        </ul>
        {chosen && <Detail p={chosen} />}
      </div>
    </div>
  );
}

function Detail({ p }: { p: ProcessNode }) {
  return (
    <dl className="facts" aria-label={'Process ' + p.pid}>
      <dt>Command</dt><dd><Value text={p.cmdline || '–'} mono max={300} /></dd>
      <dt>Executable</dt><dd><Value text={p.exe || '–'} mono />{p.drift && ' (written since the container started)'}</dd>
      {p.user && <><dt>User</dt><dd><Value text={p.user} mono /></dd></>}
      {p.container && <><dt>Container</dt><dd><Value text={p.container} mono /></dd></>}
      <dt>Started</dt><dd><Ago at={p.start} suffix=" ago" /></dd>
    </dl>
  );
}
