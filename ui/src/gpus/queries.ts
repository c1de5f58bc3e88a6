import { useQuery } from '@tanstack/react-query';
import { get } from '../api/client';
import type { EventPage, Finding, GPU, Incident, Page } from '../api/types';
import { type Range, queryOf, queryOfFaults, queryOfUsers } from './series';

const most = 5000;

/** useHistory reads what a GPU and its processes did in a range, and what was said of it. */
export function useHistory(g: GPU, range: Range) {
  const ask = (what: string, q: string, limit = most) => ({
    queryKey: ['events', what, g.host, g.uuid, range], refetchInterval: 30_000,
    queryFn: ({ signal }: { signal: AbortSignal }) => get<EventPage>('events', { q, start: range, limit }, signal),
  });
  return {
    whole: useQuery(ask('gpu', queryOf(g.host, g.uuid, range))),
    users: useQuery(ask('gpu-users', queryOfUsers(g.host, g.uuid, range))),
    faults: useQuery(ask('gpu-faults', queryOfFaults(g.host, g.uuid, g.pci), 200)),
  };
}

/** useFound reads the findings whose events are about a GPU, each with the incident that it belongs to. */
export function useFound(g: GPU) {
  return useQuery({
    queryKey: ['findings', 'gpu', g.host, g.uuid], refetchInterval: 30_000,
    queryFn: async ({ signal }) => {
      const [findings, incidents] = await Promise.all([
        get<Page<Finding>>('findings', { host: g.host, limit: 200 }, signal), get<Page<Incident>>('incidents', { limit: 200 }, signal),
      ]);
      const of = new Map(incidents.items.flatMap((i) => i.findings.map((f) => [f.id, i.id] as const)));
      return findings.items.filter((f) => f.events.some((e) => e['gpu.uuid'] === g.uuid)).map((f) => ({ ...f, incident: of.get(f.id) }));
    },
  });
}
