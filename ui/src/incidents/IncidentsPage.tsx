import { Button, Group, SegmentedControl, Select, Text, TextInput, Title } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { useRef, useState } from 'react';
import { useSearchParams } from 'react-router';
import { useIncidents } from '../api/queries';
import { step, useKeys } from '../shared/keys';
import { Empty, Failure, Loading } from '../shared/States';
import { IncidentTable } from './IncidentTable';

const statuses = [
  { value: 'open', label: 'Open' },
  { value: 'acknowledged', label: 'Acknowledged' },
  { value: 'closed', label: 'Closed' },
  { value: 'all', label: 'All' },
];

const severities = [
  { value: '', label: 'Any severity' },
  { value: 'critical', label: 'Critical' },
  { value: 'high', label: 'High and above' },
  { value: 'medium', label: 'Medium and above' },
  { value: 'low', label: 'Low and above' },
];

/** IncidentsPage is the queue. Its filters are in the address. */
export function IncidentsPage() {
  const [params, setParams] = useSearchParams();
  const box = useRef<HTMLInputElement>(null);
  const status = params.get('status') ?? 'open';
  const severity = params.get('severity') ?? '';
  const q = params.get('q') ?? '';
  const [text, setText] = useState(q);
  const set = (key: string, value: string) => setParams((p) => {
    if (value) p.set(key, value);
    else p.delete(key);
    return p;
  }, { replace: true });
  const setLate = useDebouncedCallback((v: string) => set('q', v), 250);
  const list = useIncidents({ status: status === 'all' ? '' : status, severity, q });
  const items = list.data?.pages.flatMap((p) => p.items) ?? [];
  useKeys({ j: () => step(1), k: () => step(-1), '/': () => box.current?.focus() });

  return (
    <>
      <Group justify="space-between" mb="sm" gap="xs">
        <Title order={1}>Incidents</Title>
        <Group gap="xs" role="search">
          <SegmentedControl size="xs" data={statuses} value={status} onChange={(v) => set('status', v === 'open' ? '' : v)} aria-label="Status" />
          <Select size="xs" w={150} data={severities} value={severity} onChange={(v) => set('severity', v ?? '')} aria-label="Severity" allowDeselect={false} />
          <TextInput ref={box} size="xs" w={240} type="search" placeholder="Search: title, host, model… ( / )" aria-label="Search incidents" value={text}
            onChange={(e) => { setText(e.currentTarget.value); setLate(e.currentTarget.value); }}
            onKeyDown={(e) => e.key === 'Escape' && e.currentTarget.blur()} />
        </Group>
      </Group>
      {list.isError && <Failure what="Reading incidents" error={list.error} retry={() => void list.refetch()} />}
      {list.isPending && <Loading />}
      {list.isSuccess && items.length === 0 && <Nothing filtered={Boolean(q || severity)} status={status} />}
      {items.length > 0 && <IncidentTable items={items} />}
      {list.hasNextPage && <Button mt="sm" size="xs" variant="default" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>More</Button>}
      {items.length > 0 && <Text size="xs" className="quiet" mt="xs">{items.length}{list.hasNextPage ? '+' : ''} shown, the latest first. Press ? for keys.</Text>}
    </>
  );
}

function Nothing({ filtered, status }: { filtered: boolean; status: string }) {
  if (filtered) return <Empty title="No incident matches">Take a filter away.</Empty>;
  if (status === 'acknowledged' || status === 'closed') return <Empty title={`No ${status} incidents`}>Open ones are under Open.</Empty>;
  return <Empty title={status === 'open' ? 'No open incidents' : 'No incidents'}>Try one, it is contained and harmless: <code className="try">picket lab attack steal-weights</code></Empty>;
}
