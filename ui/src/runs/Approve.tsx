import { Alert, Button, Group, Stack, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useChangeRun, usePlan } from '../api/respond';
import type { Run, Session } from '../api/types';
import { Failure } from '../shared/States';
import { Until } from '../shared/Time';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';
import { changes } from './describe';
import { PlanView } from './PlanView';

const leftOut = (run: Run) => run.plan.acts.flatMap((a) => (a.left_out && a.id ? [a.id] : []));

/** Choose is the plan of a run that waits, whose targets may be chosen: that makes it another plan, which needs a word of its own. */
export function Choose({ run, may }: { run: Run; may: boolean }) {
  const change = useChangeRun(run.id);
  const [chosen, choose] = useState<string[]>();
  const was = leftOut(run);
  const out = chosen ?? was;
  const other = out.length !== was.length || out.some((id) => !was.includes(id));
  return (
    <>
      <PlanView plan={run.plan} choice={may ? { out, set: choose, busy: change.isPending } : undefined} />
      {other && (
        <div className="ask" role="group" aria-label="Targets chosen anew">
          <p>These targets make another plan. {run.approvals.length > 0 && 'Who approved the old one has to approve the new one. '}{run.plan.class === 'destructive' && 'Where something in it cannot be taken back, another person than you approves it.'}</p>
          <Group gap={6}>
            <Button size="xs" loading={change.isPending} onClick={() => change.mutate({ what: 'edit', body: { hash: run.plan.hash, leave_out: out } }, { onSuccess: () => choose(undefined) })}>Use these targets</Button>
            <Button size="xs" variant="default" disabled={change.isPending} onClick={() => choose(undefined)}>As it was</Button>
          </Group>
        </div>
      )}
      {change.isError && <Failure what="Choosing targets" error={change.error} />}
    </>
  );
}

/** Approve is the word on a plan that waits for one. The word is for the plan shown, by its hash, and no other. */
export function Approve({ run, session }: { run: Run; session: Session }) {
  const change = useChangeRun(run.id);
  const [reason, setReason] = useState('');
  const own = run.plan.class === 'destructive' && (run.edited_by ?? run.by) === session.user;
  const already = run.approvals.some((a) => a.by === session.user);
  if (session.role === 'viewer') return <p className="quiet small">Your role, viewer, only reads: an analyst approves or rejects it.</p>;
  const why = own ? `You ${run.edited_by ? 'chose its targets' : 'asked for it'}, and something in it cannot be taken back: another person approves it.` : already ? 'You have approved it. It waits for another person.' : '';
  const text = reason.trim();
  return (
    <Stack gap={6}>
      <Fresh run={run} />
      {why && <p className="warning">{why}</p>}
      {run.not_after && <p className="quiet small">The request expires <Until at={run.not_after} />; then nothing is done.</p>}
      <TextInput size="xs" label="Reason" description="Stands in the run and in the audit log" maxLength={1000} value={reason} onChange={(e) => setReason(e.currentTarget.value)} />
      <Group gap={6}>
        <Button size="xs" color={run.plan.class === 'destructive' ? 'red' : undefined} disabled={Boolean(why)} loading={change.isPending}
          onClick={() => change.mutate({ what: 'approve', body: { hash: run.plan.hash, reason: text || undefined } })}>Approve plan {run.plan.hash.slice(0, 8)}</Button>
        <Button size="xs" variant="default" loading={change.isPending} onClick={() => change.mutate({ what: 'reject', body: { reason: text } })}>Reject</Button>
      </Group>
      {change.isError && <Failure what="The change" error={change.error} />}
    </Stack>
  );
}

/** Fresh compares the plan with one made now: who approves an old plan should know what has changed since. */
function Fresh({ run }: { run: Run }) {
  const now = usePlan(run.plan.playbook, run.incident, true, run.values, leftOut(run));
  if (now.isPending) return <p className="quiet small" role="status">Comparing with a plan made now…</p>;
  if (now.isError) return <p className="warning small">Whether the plan still fits could not be asked: {plain(now.error.message)}</p>;
  const lines = changes(run.plan, now.data);
  if (lines.length === 0) return <p className="quiet small" data-testid="fresh">A plan made now is the same. <button type="button" className="more" onClick={() => void now.refetch()}>compare again</button></p>;
  return (
    <Alert color="orange" variant="light" title="A plan made now would be another one" role="alert">
      <ul className="plain">{lines.slice(0, 12).map((l) => <li key={l}><Value text={l} max={300} /></li>)}{lines.length > 12 && <li className="quiet">{lines.length - 12} more</li>}</ul>
      What you approve is the plan shown here. To have the new one, reject this and ask again from the incident.
    </Alert>
  );
}
