import { useFindings } from '../api/queries';
import type { Finding } from '../api/types';
import { EventTable } from '../shared/EventTable';
import { Severity } from '../shared/Severity';
import { Failure, Loading } from '../shared/States';
import { Ago } from '../shared/Time';
import { Value } from '../shared/Value';

/** Evidence lists the findings, each with the events that made it. */
export function Evidence({ incident }: { incident: string }) {
  const findings = useFindings(incident);
  if (findings.isError) return <Failure what="Reading findings" error={findings.error} retry={() => void findings.refetch()} />;
  if (findings.isPending) return <Loading rows={3} />;
  const items = [...findings.data.items].sort((a, b) => a.time.localeCompare(b.time));
  return items.map((f) => <One key={f.id} f={f} />);
}

const short = (id?: string) => (id && /^[0-9a-f]{64}$/.test(id) ? id.slice(0, 12) : id);

function One({ f }: { f: Finding }) {
  const facts: [string, string | undefined][] = [
    ['rule', f.rule.name], ['threat', f.rule.threat], ['container', short(f.container?.id)],
    ['workload', f.workload && `${f.workload.name} (${f.workload.engine}, ${f.workload.kind})`], ['model', f.model?.name],
  ];
  return (
    <div className="finding" id={'finding-' + f.id} tabIndex={-1}>
      <div className="top"><Severity level={f.severity} /><b><Value text={f.rule.title} max={200} /></b><span className="quiet small"><Ago at={f.time} suffix=" ago" /></span></div>
      <p><Value text={f.summary} max={600} /></p>
      <p className="small quiet">
        {facts.filter(([, v]) => v).map(([k, v]) => <span key={k} className="fact">{k} <Value text={v!} mono max={80} /></span>)}
      </p>
      <EventTable rows={f.events} note={f.count > f.events.length ? `${f.count.toLocaleString('en')} events matched; the first ${f.events.length} are kept here` : undefined} />
    </div>
  );
}
