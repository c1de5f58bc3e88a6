import { Alert, Button, Group, Modal, Stack } from '@mantine/core';
import { useState } from 'react';
import { useRespond, useStop } from '../api/respond';
import { Failure } from '../shared/States';
import { Value } from '../shared/Value';

/** StopSwitch keeps every run from beginning an act, after a second word, and says where that is so. */
export function StopSwitch({ may }: { may: boolean }) {
  const respond = useRespond();
  const stop = useStop();
  const [asks, ask] = useState(false);
  const stopped = respond.data?.stopped;
  if (respond.isError || !respond.data) return null; // the page around it says what is wrong
  const open = () => { stop.reset(); ask(true); };
  return (
    <>
      {stopped && (
        <Alert color="orange" variant="light" title="All acts are stopped" mb="sm" role="status">
          <Group justify="space-between"><span><Value text={stopped} max={80} /> stopped them. No run begins an act; what was begun is finished, what holds is taken back as before.</span>
            {may && <Button size="xs" variant="default" onClick={open}>Let them go on…</Button>}</Group>
        </Alert>
      )}
      {!stopped && may && <Button size="xs" color="red" variant="outline" onClick={open}>Stop all acts…</Button>}
      <Modal opened={asks} onClose={() => ask(false)} title={stopped ? 'Let acts go on' : 'Stop all acts'} closeButtonProps={{ 'aria-label': 'Cancel' }}>
        <Stack gap="sm">
          <p>{stopped ? 'Runs that wait begin their next act at once.' : 'No run of any playbook begins an act any more, on no host, until somebody lets them go on. What was begun is finished; what holds goes on holding until its time is over.'}</p>
          {stop.isError && <Failure what="The change" error={stop.error} />}
          <Group justify="end"><Button variant="default" onClick={() => ask(false)} data-autofocus>Cancel</Button>
            <Button color={stopped ? undefined : 'red'} loading={stop.isPending} onClick={() => stop.mutate(!stopped, { onSuccess: () => ask(false) })}>{stopped ? 'Let them go on' : 'Stop all acts'}</Button></Group>
        </Stack>
      </Modal>
    </>
  );
}
