import { Button, Group, Select, Stack, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useNavigate, useSearchParams } from 'react-router';
import { Problem } from '../api/client';
import { usePlan, usePlaybook, usePlaybooks, useRequestRun, useRuns } from '../api/respond';
import type { Incident, Plan, Role } from '../api/types';
import { type Choice, PlanView } from '../runs/PlanView';
import { RunList } from '../runs/RunState';
import { Failure, Loading } from '../shared/States';
import { Runbook } from './Runbook';

/** Respond answers an incident: the runs so far, and a playbook with its plan and its runbook. */
export function Respond({ incident, role }: { incident: Incident; role: Role }) {
  const [params, setParams] = useSearchParams();
  const books = usePlaybooks();
  const runs = useRuns(incident.id);
  const name = params.get('playbook') ?? '';
  const choose = (v: string | null) => setParams((p) => {
    p.delete('done');
    if (v) p.set('playbook', v);
    else p.delete('playbook');
    return p;
  }, { replace: true });
  if (books.isError) return <Failure what="Reading playbooks" error={books.error} retry={() => void books.refetch()} />;
  return (
    <>
      {runs.data && runs.data.items.length > 0 ? <RunList runs={runs.data.items} /> : <p className="quiet">No playbook was run for it.</p>}
      {runs.isError && <Failure what="Reading runs" error={runs.error} retry={() => void runs.refetch()} />}
      <Select size="xs" maw={420} my="xs" label="Playbook" placeholder="Choose one to see what it would do" clearable clearButtonProps={{ 'aria-label': 'Choose none' }}
        data={(books.data?.items ?? []).map((b) => ({ value: b.name, label: b.title }))} value={name || null} onChange={choose} />
      {name && (
        <div className="pair">
          <div>{role === 'viewer' ? <p className="quiet small">Your role, viewer, only reads: an analyst plans and runs playbooks.</p> : <Planned key={name} playbook={name} incident={incident} />}</div>
          <RunbookOf name={name} incident={incident} role={role} />
        </div>
      )}
    </>
  );
}

function RunbookOf({ name, incident, role }: { name: string; incident: Incident; role: Role }) {
  const book = usePlaybook(name);
  if (book.isError) return <Failure what="Reading the playbook" error={book.error} retry={() => void book.refetch()} />;
  if (book.isPending) return <Loading rows={3} />;
  return <Runbook book={book.data} incident={incident} role={role} />;
}

function Planned({ playbook, incident }: { playbook: string; incident: Incident }) {
  const [out, setOut] = useState<string[]>([]);
  const plan = usePlan(playbook, incident.id, true, undefined, out);
  if (plan.isError) return <Failure what="Planning" error={plan.error} retry={() => { if (out.length > 0) setOut([]); else void plan.refetch(); }} />;
  if (plan.isPending) return <Loading rows={3} />;
  return <Ready playbook={playbook} plan={plan.data} again={() => plan.refetch()} choice={{ out, set: setOut, busy: plan.isFetching }} />;
}

interface ReadyProps { playbook: string; plan: Plan; again: () => Promise<unknown>; choice: Choice }

/** Ready is a plan that may be run: what is asked for is the plan shown, by its hash. */
function Ready({ playbook, plan, again, choice }: ReadyProps) {
  const { busy } = choice;
  const request = useRequestRun();
  const go = useNavigate();
  const [reason, setReason] = useState('');
  const changed = request.error instanceof Problem && request.error.status === 409;
  const run = () => request.mutate({ playbook, incident: plan.incident, reason: reason.trim() || undefined, hash: plan.hash, leave_out: choice.out }, {
    onSuccess: (r) => go('/runs/' + encodeURIComponent(r.id)),
    onError: (e) => { if (e instanceof Problem && e.status === 409) void again(); },
  });
  const asks = plan.class === 'destructive';
  return (
    <Stack gap="xs">
      <PlanView plan={plan} choice={choice} />
      {changed && <p className="warning" role="alert">The plan is another one now than the one that you saw, so nothing was done. The new one stands above: read it again.</p>}
      <TextInput size="xs" label="Reason" description="Stands in the run and in the audit log" maxLength={1000} value={reason} onChange={(e) => setReason(e.currentTarget.value)} />
      {asks && <p className="quiet small">Something in it cannot be taken back: it waits until another person approves it.</p>}
      <Group gap={6}>
        <Button size="xs" color={asks ? 'red' : undefined} loading={request.isPending} disabled={busy} onClick={run}>{asks ? 'Ask for approval' : 'Run it'}</Button>
        <Button size="xs" variant="default" loading={busy} onClick={() => void again()}>Plan again</Button>
      </Group>
      {request.isError && !changed && <Failure what="Asking for the run" error={request.error} />}
    </Stack>
  );
}
