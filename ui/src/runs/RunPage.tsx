import { Button, Group, Modal, Stack, Text, TextInput, Title } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { Link, useParams } from 'react-router';
import { useChangeRun, usePlaybook, useRun } from '../api/respond';
import type { Run, Session } from '../api/types';
import { Failure, Loading } from '../shared/States';
import { Ago, Clock } from '../shared/Time';
import { Value } from '../shared/Value';
import { Approve, Choose } from './Approve';
import { Asks } from './Asks';
import { Holds } from './Holds';
import { PlanView } from './PlanView';
import { RunMark } from './RunState';
import { Steps } from './Steps';
import { StopSwitch } from './StopSwitch';

/** RunPage shows a run of a playbook while it goes on: its plan, what it asks, what it did and what holds. */
export default function RunPage({ session }: { session: Session }) {
  const { id = '' } = useParams();
  const run = useRun(id);
  return (
    <>
      <Text size="sm" mb={4}><Link to="/approvals" className="back">← Approvals</Link></Text>
      {run.isError && <Failure what="Reading the run" error={run.error} retry={() => void run.refetch()} />}
      {run.isPending && <Loading />}
      {run.data && <Whole run={run.data} session={session} />}
    </>
  );
}

function Whole({ run, session }: { run: Run; session: Session }) {
  const may = session.role !== 'viewer';
  const book = usePlaybook(run.plan.playbook);
  const names: Record<string, string> = {};
  for (const [id, s] of Object.entries(book.data?.body.workflow ?? {})) names[id] = s.name ?? s.type;
  for (const a of run.plan.acts) names[a.step] = a.name || names[a.step] || a.step;
  const waits = run.state === 'waiting' || run.state === 'suggested';
  return (
    <article aria-labelledby="title">
      <header className="head">
        <div className="grow">
          <Title order={1} id="title"><Value text={run.plan.name} max={200} /></Title>
          <Group gap="md" mt={6}>
            <span data-testid="state"><RunMark run={run} /></span>
            <Link to={'/incidents/' + encodeURIComponent(run.incident)}>incident {run.incident.slice(0, 8)}</Link>
            <span className="quiet">asked for by <Value text={run.by} max={80} />, <Ago at={run.opened} suffix=" ago" />{run.reason && <>: <Value text={run.reason} max={300} /></>}</span>
            {run.edited_by && <span className="quiet">targets chosen by <Value text={run.edited_by} max={80} /></span>}
          </Group>
          {run.failure && <p className="warning"><Value text={run.failure} max={600} /></p>}
          {run.cancel && <p className="warning"><Value text={run.cancel} max={600} /></p>}
        </div>
        <Group gap={6}>{run.state === 'running' && may && <End run={run} />}<StopSwitch may={may} /></Group>
      </header>
      {waits && <Section title={run.state === 'suggested' ? 'A rule suggests it: run it?' : 'It waits for approval'}><Approve run={run} session={session} /></Section>}
      {run.asks.length > 0 && <Section title="It asks"><Asks run={run} may={may} /></Section>}
      <div className="columns even">
        <div>
          {!waits && <Section title="What it did"><Steps run={run} names={names} /></Section>}
          {!waits && <Section title="What holds"><Holds run={run} may={may} /></Section>}
          {waits && <Section title="The plan"><Choose key={run.plan.hash} run={run} may={may} /></Section>}
        </div>
        <aside aria-label="About this run">
          <Section title="Approvals">
            {run.approvals.length === 0 && <p className="quiet">Nobody has approved it.</p>}
            <ul className="plain">{run.approvals.map((a) => <li key={a.by + a.at}><b><Value text={a.by} max={80} /></b> <Clock at={a.at} />{a.reason && <blockquote><Value text={a.reason} max={400} /></blockquote>}</li>)}</ul>
          </Section>
          {!waits && <Section title="The plan"><PlanView plan={run.plan} /></Section>}
        </aside>
      </div>
    </article>
  );
}

/** End ends a run between two of its steps, after a second word. */
function End({ run }: { run: Run }) {
  const change = useChangeRun(run.id);
  const [asks, ask] = useState(false);
  const [reason, setReason] = useState('');
  return (
    <>
      <Button size="xs" variant="default" onClick={() => { change.reset(); ask(true); }}>End run…</Button>
      <Modal opened={asks} onClose={() => ask(false)} title="End the run" closeButtonProps={{ 'aria-label': 'Cancel' }}>
        <form onSubmit={(e) => { e.preventDefault(); change.mutate({ what: 'reject', body: { reason: reason.trim() } }, { onSuccess: () => ask(false) }); }}>
          <Stack gap="sm">
            <p>It ends between two of its steps. What it did holds until it is taken back.</p>
            <TextInput label="Reason" data-autofocus maxLength={1000} value={reason} onChange={(e) => setReason(e.currentTarget.value)} />
            {change.isError && <Failure what="The change" error={change.error} />}
            <Group justify="end"><Button variant="default" onClick={() => ask(false)}>Cancel</Button><Button type="submit" loading={change.isPending}>End run</Button></Group>
          </Stack>
        </form>
      </Modal>
    </>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return <section className="card section" aria-label={title}><Title order={2}>{title}</Title>{children}</section>;
}
