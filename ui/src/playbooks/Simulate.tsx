import { Button } from '@mantine/core';
import { Link } from 'react-router';
import { useSimulate } from '../api/respond';
import { Failure } from '../shared/States';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';

const most = 200;

const counts = (acts: Record<string, number>) => Object.entries(acts).sort().map(([k, n]) => `${plain(k)} ${n}`).join(', ') || 'nothing';

/** Simulate says what a playbook would have done about the latest incidents. No agent is asked. */
export function Simulate({ playbook }: { playbook: string }) {
  const sim = useSimulate(playbook);
  const s = sim.data;
  return (
    <>
      <p className="quiet">What it would have done about the latest {most} incidents, over all its branches. No agent is asked and nothing is done.</p>
      <Button size="xs" variant="default" loading={sim.isPending} onClick={() => sim.mutate(most)}>Simulate</Button>
      {sim.isError && <Failure what="The simulation" error={sim.error} />}
      {s && (
        <div data-testid="simulation" role="status">
          <p>Over {s.plans.length} incidents: {counts(s.acts)}. {s.asked} of the plans would have waited for another person.{Object.keys(s.benign).length > 0 && ` About false positives: ${counts(s.benign)}.`}</p>
          <table className="grid">
            <thead><tr><th>Incident</th><th>Acts</th><th>Verdict</th></tr></thead>
            <tbody>{s.plans.map((p) => (
              <tr key={p.incident}><td><Link to={'/incidents/' + encodeURIComponent(p.incident)}><Value text={p.title} max={120} /></Link></td>
                <td>{p.error ? <span className="warning">It could not have been run: <Value text={p.error} max={200} /></span> : counts(p.acts)}</td><td>{p.verdict?.replace('_', ' ') ?? ''}</td></tr>
            ))}</tbody>
          </table>
        </div>
      )}
    </>
  );
}
