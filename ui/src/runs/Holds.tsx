import { Button, Group, Modal, Select, Stack } from '@mantine/core';
import { useState } from 'react';
import { useChangeRun } from '../api/respond';
import type { Hold, Run } from '../api/types';
import { Failure } from '../shared/States';
import { Until } from '../shared/Time';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';
import { describe } from './describe';

const hour = 3_600e9; // ns
const times = [{ value: String(hour), label: '1 hour from now' }, { value: String(6 * hour), label: '6 hours from now' }, { value: String(24 * hour), label: '1 day from now' }, { value: String(168 * hour), label: '7 days from now' }];

/** way says how the plan told that an act is taken back. */
function way(run: Run, h: Hold): string {
  const of = run.plan.acts.find((a) => a.step === h.request.step && a.kind === h.request.kind && describe(a.target) === describe(h.request.target));
  return of?.undo ?? 'by its agent';
}

/** Holds are what a run did that still holds: until when, for longer, or taken back now. */
export function Holds({ run, may }: { run: Run; may: boolean }) {
  const change = useChangeRun(run.id);
  const [asks, ask] = useState(false);
  if (run.holds.length === 0) return <p className="quiet">Nothing holds that could be taken back.</p>;
  const latest = [...run.holds].reverse();
  return (
    <>
      <ul className="plain" data-testid="holds">
        {latest.map((h) => (
          <li key={h.request.id} className="hold">
            <div className="grow"><b>{plain(h.request.kind)}</b> <Value text={describe(h.request.target)} mono max={160} /> <span className="quiet">ends by itself <Until at={h.until} /></span>
              {h.tries ? <div className="warning small">Taking it back failed {h.tries} times, and is tried again.</div> : null}</div>
            {may && <Select size="xs" w={170} aria-label={`Let ${plain(h.request.kind)} ${plain(describe(h.request.target))} hold until`} placeholder="Hold until…" data={times} value={null}
              onChange={(v) => v && change.mutate({ what: 'extend', body: { act: h.request.id, ttl: Number(v) } })} />}
          </li>
        ))}
      </ul>
      {may && <Button size="xs" variant="default" mt={6} onClick={() => { change.reset(); ask(true); }}>Take back…</Button>}
      {change.isError && !asks && <Failure what="The change" error={change.error} />}
      <Modal opened={asks} onClose={() => ask(false)} title="Take back what holds" closeButtonProps={{ 'aria-label': 'Cancel' }}>
        <Stack gap="sm">
          <p>This is taken back now, the latest first:</p>
          <ol>{latest.map((h) => <li key={h.request.id}><b>{plain(h.request.kind)}</b> <Value text={describe(h.request.target)} mono max={160} />: <Value text={way(run, h)} max={200} /></li>)}</ol>
          {change.isError && <Failure what="Taking it back" error={change.error} />}
          <Group justify="end"><Button variant="default" onClick={() => ask(false)} data-autofocus>Cancel</Button><Button loading={change.isPending} onClick={() => change.mutate({ what: 'undo' }, { onSuccess: () => ask(false) })}>Take back</Button></Group>
        </Stack>
      </Modal>
    </>
  );
}
