import { useMemo } from 'react';
import { Link } from 'react-router';
import type { EventRow, GPU } from '../api/types';
import { Severity } from '../shared/Severity';
import { Failure, Loading } from '../shared/States';
import { Clock } from '../shared/Time';
import { Value } from '../shared/Value';
import { Chart } from './Chart';
import { useFound, useHistory } from './queries';
import { type Range, type Series, heaviest, series, together } from './series';

const spans: Record<Range, number> = { '1h': 3600, '6h': 21_600, '24h': 86_400, '7d': 604_800 };
const most = 7; // processes in one chart

const whole = (r: EventRow[], field: string, unit = 1, label = 'GPU') => series(r, field, unit, () => ({ key: field, label }));
const byProcess = (r: EventRow[], field: string, unit = 1) => heaviest(series(r, field, unit, (x) => ({
  key: x['process.uid'] ?? '', label: `${x['process.name']}[${x['process.pid']}]` + (x['ai.workload.name'] ? ` of ${x['ai.workload.name']}` : ''),
})), most);

interface Mark { at: string; what: string; severity?: 'critical' | 'high' | 'medium' | 'low' | 'informational'; to?: string }

/** Detail shows what a GPU and its processes did over time, with what was found on the same time line. */
export function Detail({ g, range }: { g: GPU; range: Range }) {
  const h = useHistory(g, range);
  const found = useFound(g);
  const [rows, users, faults] = [h.whole.data?.items, h.users.data?.items, h.faults.data?.items];
  const to = (h.whole.dataUpdatedAt || Date.now()) / 1000;
  const from = to - spans[range];
  const marks = useMemo((): Mark[] => [
    ...(found.data ?? []).map((f) => ({ at: f.time, what: f.summary, severity: f.severity, to: f.incident && `/incidents/${encodeURIComponent(f.incident)}#finding-${encodeURIComponent(f.id)}` })),
    ...(faults ?? []).map((r) => ({ at: r._time ?? '', what: r._msg ?? '' })),
  ].filter((m) => Date.parse(m.at) / 1000 >= from).sort((a, b) => b.at.localeCompare(a.at)), [found.data, faults, from]);
  const charts = useMemo(() => (rows && users ? draw(rows, users) : []), [rows, users]);
  const at = useMemo(() => marks.map((m) => Date.parse(m.at) / 1000), [marks]);
  const failed = [h.whole, h.users, h.faults].find((q) => q.isError);
  if (failed) return <Failure what="Reading what the GPU did" error={failed.error} retry={() => void failed.refetch()} />;
  if (!rows || !users) return <Loading rows={4} />;
  const told = charts.filter((c) => c.data.lines.length > 0);
  return (
    <>
      <div className="charts" data-testid="charts">{told.map((c) => <Chart key={c.title} {...c} from={from} to={to} marks={at} />)}</div>
      {rows.length > 0 && told.length < charts.length && <p className="quiet small">Its driver did not tell in this time: {charts.filter((c) => !told.includes(c)).map((c) => c.title.toLowerCase()).join(', ')}.</p>}
      {rows.length === 0 && <p className="quiet">No sample was kept in this time. One is kept each minute, and when something changes.</p>}
      {found.isError && <Failure what="Reading findings" error={found.error} retry={() => void found.refetch()} />}
      {marks.length === 0 ? <p className="quiet">Nothing was found about it in this time, and its driver told of no fault.</p> : (
        <ul className="plain" aria-label="Found in this time" data-testid="marks">
          {marks.slice(0, 50).map((m, n) => <li key={n}><Clock at={m.at} /> {m.severity ? <Severity level={m.severity} /> : <span className="note warn">fault</span>} {m.to ? <Link to={m.to}><Value text={m.what} max={200} /></Link> : <Value text={m.what} max={200} />}</li>)}
        </ul>
      )}
    </>
  );
}

function draw(rows: EventRow[], users: EventRow[]): { title: string; unit: string; data: Series; top?: number }[] {
  return [
    { title: 'Utilisation', unit: 'percent of the time', top: 100, data: together(whole(rows, 'util'), byProcess(users, 'util')) },
    { title: 'Memory', unit: 'GiB', data: together(whole(rows, 'memory', 2 ** 30), byProcess(users, 'memory', 2 ** 30)) },
    { title: 'Power', unit: 'W', data: whole(rows, 'power', 1000) },
    { title: 'Clocks', unit: 'MHz', data: together(whole(rows, 'clock', 1, 'processors'), whole(rows, 'clock_memory', 1, 'memory')) },
    { title: 'Temperature', unit: '°C', data: whole(rows, 'temperature') },
    { title: 'Uncorrected errors of memory', unit: 'since the driver was loaded', data: whole(rows, 'ecc') },
  ];
}
