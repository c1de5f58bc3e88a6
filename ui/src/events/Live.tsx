import { Button, Group, Text } from '@mantine/core';
import { useState } from 'react';
import { EventTable } from '../shared/EventTable';
import { Empty } from '../shared/States';
import { useTail } from './useTail';

/** Live shows events as they happen. */
export function Live({ q, filter }: { q: string; filter: (f: string, v: string, wanted: boolean) => void }) {
  const [paused, setPaused] = useState(false);
  const tail = useTail(q, true, paused);
  return (
    <>
      <Group gap="sm" mb={6}>
        <Button size="compact-xs" variant={paused ? 'filled' : 'default'} onClick={() => setPaused(!paused)}>{paused ? `Resume (${tail.waiting} waiting)` : 'Pause'}</Button>
        <Text size="xs" className="quiet" role="status">
          {tail.state === 'away' ? 'No answer: the stream takes words and field:value only, or the server is away. Trying again…' : `${tail.rows.length} events, the latest first`}
          {tail.missed > 0 && ` · ${tail.missed.toLocaleString('en')} came too fast to show; search finds them`}
        </Text>
      </Group>
      {tail.rows.length === 0
        ? <Empty title="Waiting for events">Run a command in a container, or take the query away.</Empty>
        : <div className="card"><EventTable rows={tail.rows} filter={filter} /></div>}
    </>
  );
}
