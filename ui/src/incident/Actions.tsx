import { Button, Group, Modal, Radio, Stack, Textarea } from '@mantine/core';
import { useState } from 'react';
import { useChangeIncident } from '../api/queries';
import type { Incident, IncidentPatch, Role, Verdict } from '../api/types';
import { useKeys } from '../shared/keys';
import { Failure } from '../shared/States';

type Dialog = '' | 'close' | 'note';

/** Actions are what a person may do with an incident. A viewer only reads. */
export function Actions({ incident, role }: { incident: Incident; role: Role }) {
  const change = useChangeIncident(incident.id);
  const [dialog, setDialog] = useState<Dialog>('');
  const may = role !== 'viewer';
  const [opened, count] = useState(0); // a new dialog each time, not what was left in the one before
  const send = (p: IncidentPatch) => change.mutate(p.status ? { ...p, version: incident.version } : p, { onSuccess: () => setDialog('') });
  const open = (d: Dialog) => {
    change.reset();
    count((n) => n + 1);
    setDialog(d);
  };
  const acknowledge = () => send({ status: 'acknowledged' });
  useKeys({
    a: () => may && incident.status === 'open' && acknowledge(),
    c: () => may && incident.status !== 'closed' && open('close'),
  });
  if (!may) return <span className="quiet small">Your role, viewer, only reads.</span>;
  return (
    <Stack gap={6} align="end">
      <Group gap={6}>
        {incident.status === 'open' && <Button size="xs" loading={change.isPending} onClick={acknowledge}>Acknowledge</Button>}
        {incident.status !== 'closed' && <Button size="xs" variant="default" onClick={() => open('close')}>Close…</Button>}
        {incident.status !== 'open' && <Button size="xs" variant="default" loading={change.isPending} onClick={() => send({ status: 'open' })}>Reopen</Button>}
        <Button size="xs" variant="default" onClick={() => open('note')}>Note…</Button>
      </Group>
      {change.isError && !dialog && <Failure what="The change" error={change.error} />}
      <CloseDialog key={'c' + opened} opened={dialog === 'close'} end={() => setDialog('')} send={send} error={change.error} busy={change.isPending} />
      <NoteDialog key={'n' + opened} opened={dialog === 'note'} end={() => setDialog('')} send={send} error={change.error} busy={change.isPending} />
    </Stack>
  );
}

interface DialogProps { opened: boolean; end: () => void; send: (p: IncidentPatch) => void; error: unknown; busy: boolean }

function CloseDialog({ opened, end, send, error, busy }: DialogProps) {
  const [verdict, setVerdict] = useState<Verdict>('true_positive');
  const [note, setNote] = useState('');
  return (
    <Modal opened={opened} onClose={end} title="Close the incident" closeButtonProps={{ 'aria-label': 'Cancel' }}>
      <form onSubmit={(e) => { e.preventDefault(); send({ status: 'closed', verdict, note: note.trim() || undefined }); }}>
        <Stack gap="sm">
          <Radio.Group label="What was it?" value={verdict} onChange={(v) => setVerdict(v as Verdict)}>
            <Stack gap={6} mt={6}>
              <Radio value="true_positive" label="True positive: it was an attack or a test of one" data-autofocus />
              <Radio value="false_positive" label="False positive: it was meant to happen" />
            </Stack>
          </Radio.Group>
          <Textarea label="Note" description="For whoever reads this next" autosize minRows={2} maxRows={8} maxLength={10_000} value={note} onChange={(e) => setNote(e.currentTarget.value)} />
          {Boolean(error) && <Failure what="The change" error={error} />}
          <Group justify="end"><Button variant="default" onClick={end}>Cancel</Button><Button type="submit" loading={busy}>Close incident</Button></Group>
        </Stack>
      </form>
    </Modal>
  );
}

function NoteDialog({ opened, end, send, error, busy }: DialogProps) {
  const [note, setNote] = useState('');
  return (
    <Modal opened={opened} onClose={end} title="Add a note" closeButtonProps={{ 'aria-label': 'Cancel' }}>
      <form onSubmit={(e) => { e.preventDefault(); send({ note: note.trim() }); }}>
        <Stack gap="sm">
          <Textarea label="Note" data-autofocus autosize minRows={3} maxRows={10} required maxLength={10_000} value={note} onChange={(e) => setNote(e.currentTarget.value)} />
          {Boolean(error) && <Failure what="The change" error={error} />}
          <Group justify="end"><Button variant="default" onClick={end}>Cancel</Button><Button type="submit" loading={busy} disabled={!note.trim()}>Add</Button></Group>
        </Stack>
      </form>
    </Modal>
  );
}
