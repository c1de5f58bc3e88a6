import { Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { useOpenRuns } from '../api/respond';
import type { Role, Run } from '../api/types';
import { RunList } from '../runs/RunState';
import { StopSwitch } from '../runs/StopSwitch';
import { step, useKeys } from '../shared/keys';
import { Empty, Failure, Loading } from '../shared/States';

/** ApprovalsPage is the inbox of what waits for a person: plans, questions, suggestions; then what goes on or holds. */
export function ApprovalsPage({ role }: { role: Role }) {
  const runs = useOpenRuns();
  const items = runs.data?.items ?? [];
  useKeys({ j: () => step(1), k: () => step(-1) });
  const asks = items.filter((r) => r.asks.length > 0);
  const rest = items.filter((r) => r.asks.length === 0);
  return (
    <>
      <div className="bar"><Title order={1}>Approvals</Title><StopSwitch may={role !== 'viewer'} /></div>
      {runs.isError && <Failure what="Reading runs" error={runs.error} retry={() => void runs.refetch()} />}
      {runs.isPending && <Loading />}
      {runs.isSuccess && items.length === 0 && <Empty title="Nothing waits for you">A run is asked for on the page of an incident, or by a rule: <code>respond.rules</code> in picket.yaml.</Empty>}
      <Group title="Plans that wait for approval" runs={rest.filter((r) => r.state === 'waiting')} />
      <Group title="Questions" runs={asks} />
      <Group title="Suggested by rules" runs={rest.filter((r) => r.state === 'suggested')} />
      <Group title="Going on, or holding something" runs={rest.filter((r) => r.state !== 'waiting' && r.state !== 'suggested')} />
    </>
  );
}

function Group({ title, runs }: { title: string; runs: Run[] }): ReactNode {
  if (runs.length === 0) return null;
  return <section className="card section" aria-label={title}><Title order={2}>{title} ({runs.length})</Title><RunList runs={runs} incident /></section>;
}
