import { Title } from '@mantine/core';
import { useFleet, useHealth } from '../api/queries';
import type { Health } from '../api/types';
import { Empty, Failure, Loading } from '../shared/States';
import { plain } from '../shared/visible';
import { AgentCard } from './AgentCard';
import { State } from './State';

/** FleetPage shows how the agents and the server's parts are. */
export function FleetPage() {
  const fleet = useFleet();
  const health = useHealth();
  const agents = [...(fleet.data?.items ?? [])].sort((a, b) => Number(a.status === 'ok') - Number(b.status === 'ok') || a.host.localeCompare(b.host));
  return (
    <>
      <Title order={1} mb="sm">Fleet</Title>
      {fleet.isError && <Failure what="Reading the fleet" error={fleet.error} retry={() => void fleet.refetch()} />}
      {fleet.isPending && <Loading rows={3} />}
      {fleet.isSuccess && agents.length === 0 && <Empty title="No agent has reported">Start one: <code className="try">picket run</code> starts one on this machine.</Empty>}
      {agents.map((a) => <AgentCard key={a.host} a={a} />)}
      <section className="card section" aria-label="Server">
        <Title order={2}>Server {health.data?.version && <span className="quiet mono">{plain(health.data.version)}</span>}</Title>
        {health.isError && <Failure what="Reading health" error={health.error} retry={() => void health.refetch()} />}
        {health.isPending && <Loading rows={3} />}
        {health.data && <Components health={health.data} />}
      </section>
    </>
  );
}

function Components({ health }: { health: Health }) {
  return (
    <table className="grid">
      <thead><tr><th>Part</th><th>State</th><th className="n">Restarts</th><th className="n">Lag</th><th>Detail</th></tr></thead>
      <tbody>
        {health.components.map((c) => (
          <tr key={c.name}>
            <td className="mono">{plain(c.name)}</td>
            <td><State value={c.status} /></td>
            <td className="n num">{c.restarts}</td>
            <td className="n num">{c.lag === undefined ? '–' : c.lag.toFixed(1) + ' s'}</td>
            <td>{plain(c.detail ?? '')}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
