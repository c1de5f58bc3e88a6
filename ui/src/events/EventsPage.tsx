import { Button, Group, Select, Switch, Text, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useSearchParams } from 'react-router';
import { useEvents, useHits } from '../api/queries';
import { EventTable } from '../shared/EventTable';
import { step, useKeys } from '../shared/keys';
import { Empty, Failure, Loading } from '../shared/States';
import { exact } from '../shared/time';
import { Histogram } from './Histogram';
import { Live } from './Live';
import { withTerm } from './query';
import { QueryBox } from './QueryBox';
import { QueryHelp } from './QueryHelp';
import { ResultTable } from './ResultTable';

const ranges = [
  { value: '15m', label: 'Last 15 minutes' },
  { value: '1h', label: 'Last hour' },
  { value: '6h', label: 'Last 6 hours' },
  { value: '24h', label: 'Last 24 hours' },
  { value: '7d', label: 'Last 7 days' },
  { value: '30d', label: 'Last 30 days' },
];

/** EventsPage is the hunt through stored events, and the live view. Its state is in the address. */
export default function EventsPage() {
  const [params, setParams] = useSearchParams();
  const [help, show] = useDisclosure();
  const live = params.get('live') === '1';
  const start = params.get('start') ?? '';
  const end = params.get('end') ?? '';
  const range = start ? '' : params.get('range') ?? '1h';
  const q = params.get('q') ?? '';
  const change = (values: Record<string, string>) => setParams((p) => {
    for (const [k, v] of Object.entries(values)) {
      if (v) p.set(k, v);
      else p.delete(k);
    }
    return p;
  });
  const hunt = { q, start: start || range, end };
  const events = useEvents(hunt, !live);
  const hits = useHits(hunt, !live);
  const filter = (field: string, value: string, wanted: boolean) => change({ q: withTerm(q, field, value, wanted) });
  const run = (text: string) => {
    if (text !== q) return change({ q: text });
    if (!live) {
      void events.refetch();
      void hits.refetch();
    }
  };
  useKeys({ j: () => step(1), k: () => step(-1) });

  return (
    <>
      <Group justify="space-between" mb="sm" gap="xs">
        <Title order={1}>Events</Title>
        <Group gap="sm">
          <Switch size="sm" label="Live" checked={live} onChange={(e) => change({ live: e.currentTarget.checked ? '1' : '' })} />
          <Select size="xs" w={170} aria-label="Time range" disabled={live} data={start ? [{ value: '', label: 'Chosen time' }, ...ranges] : ranges} value={range}
            onChange={(v) => v && change({ range: v, start: '', end: '' })} allowDeselect={false} />
        </Group>
      </Group>
      <Group mb="sm"><QueryBox q={q} run={run} busy={events.isFetching && !live} help={show.open} /></Group>
      {start && !live && <Text size="xs" className="quiet" mb="xs">{exact(start)} to {end ? exact(end) : 'now'}</Text>}
      {live ? <Live q={q} filter={filter} /> : <Stored events={events} buckets={hits.data ?? []} q={q} filter={filter} pick={(s, e) => change({ start: s, end: e })} />}
      <QueryHelp opened={help} close={show.close} />
    </>
  );
}

interface StoredProps {
  events: ReturnType<typeof useEvents>; buckets: { time: string; count: number }[]; q: string;
  filter: (f: string, v: string, wanted: boolean) => void; pick: (start: string, end: string) => void;
}

function Stored({ events, buckets, q, filter, pick }: StoredProps) {
  const pages = events.data?.pages ?? [];
  const rows = pages.flatMap((p) => p.items);
  const total = buckets.reduce((n, b) => n + b.count, 0);
  return (
    <>
      {buckets.length > 0 && <div className="card pad"><Histogram buckets={buckets} pick={pick} /></div>}
      {events.isError && <Failure what="The search" error={events.error} retry={() => void events.refetch()} />}
      {events.isPending && <Loading />}
      {events.isSuccess && rows.length === 0 && (
        <Empty title="No event matches">{q ? 'Take a word away, or choose a longer time.' : <>Nothing was kept in this time. Is an agent running? See <a href="/fleet">Fleet</a>.</>}</Empty>
      )}
      {rows.length > 0 && (
        <>
          <Text size="xs" className="quiet" my={6} role="status">
            {rows.length.toLocaleString('en')} of {Math.max(total, rows.length).toLocaleString('en')} shown, the latest first · {Math.round(pages.at(-1)?.took_ms ?? 0)} ms
          </Text>
          <div className="card">{rows.every((r) => '_msg' in r) ? <EventTable rows={rows} filter={filter} /> : <ResultTable rows={rows} />}</div>
        </>
      )}
      {events.hasNextPage && <Button mt="sm" size="xs" variant="default" loading={events.isFetchingNextPage} onClick={() => void events.fetchNextPage()}>Older</Button>}
    </>
  );
}
