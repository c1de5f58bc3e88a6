import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { get, post, put } from './client';
import type { Incident, Page, Plan, Playbook, PlaybookInfo, Run, RunRecord, Simulation } from './types';

const at = encodeURIComponent;

export const usePlaybooks = () => useQuery({ queryKey: ['playbooks'], queryFn: ({ signal }) => get<Page<PlaybookInfo>>('playbooks', {}, signal) });

export const usePlaybook = (name: string) => useQuery({
  queryKey: ['playbook', name], enabled: name !== '', queryFn: ({ signal }) => get<Playbook>('playbooks/' + at(name), {}, signal),
});

/** usePlan asks for a plan once; its refetch makes a new one. Agents are asked, so nothing does that by itself. */
export const usePlan = (playbook: string, incident: string, enabled: boolean, values?: Record<string, string>, leave: string[] = []) => useQuery({
  queryKey: ['plan', playbook, incident, values ?? {}, leave], enabled: enabled && playbook !== '', staleTime: Infinity, retry: false, refetchOnWindowFocus: false,
  placeholderData: (old: Plan | undefined) => (old?.playbook && leave.length > 0 ? old : undefined), // while targets are chosen the plan stays in sight
  queryFn: () => post<Plan>(`playbooks/${at(playbook)}/plan`, { incident, values, leave_out: leave }),
});

/** useSimulate asks what a playbook would have done about so many of the latest incidents. */
export const useSimulate = (playbook: string) => useMutation({
  mutationFn: async (most: number) => {
    const { items } = await get<Page<Incident>>('incidents', { limit: most });
    return post<Simulation>(`playbooks/${at(playbook)}/simulate`, { incidents: items.map((i) => i.id) });
  },
});

export const useRuns = (incident: string) => useQuery({
  queryKey: ['runs', incident], refetchInterval: 30_000, queryFn: ({ signal }) => get<Page<Run>>('runs', { incident, limit: 100 }, signal),
});

/** useOpenRuns reads the runs that go on, wait for somebody or hold something. */
export const useOpenRuns = () => useQuery({
  queryKey: ['runs', 'open'], refetchInterval: 30_000, queryFn: ({ signal }) => get<Page<Run>>('runs', { open: 'true' }, signal),
});

export const useRun = (id: string) => useQuery({
  queryKey: ['run', id], refetchInterval: 15_000, queryFn: ({ signal }) => get<Run>('runs/' + at(id), {}, signal),
});

export const useRecords = (id: string) => useQuery({
  queryKey: ['records', id], refetchInterval: 15_000, queryFn: ({ signal }) => get<Page<RunRecord>>(`runs/${at(id)}/records`, {}, signal),
});

export interface RunRequest { playbook: string; incident: string; reason?: string; hash: string; leave_out: string[] }

export function useRequestRun() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (r: RunRequest) => post<Run>('runs', r),
    onSuccess: () => void client.invalidateQueries({ queryKey: ['runs'] }),
  });
}

export type RunChange =
  | { what: 'edit'; body: { hash: string; leave_out: string[]; reason?: string } }
  | { what: 'approve'; body: { hash: string; reason?: string } }
  | { what: 'reject'; body: { reason: string } }
  | { what: 'answer'; body: { task: string; yes: boolean; text?: string; values?: Record<string, string> } }
  | { what: 'extend'; body: { act: string; ttl: number } }
  | { what: 'undo'; body?: undefined };

/** useChangeRun changes a run on the reader's behalf. What comes back takes its place on the page at once. */
export function useChangeRun(id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (c: RunChange) => post<Run>(`runs/${at(id)}/${c.what}`, c.body),
    onSuccess: (run) => client.setQueryData(['run', id], run),
    onSettled: () => {
      for (const key of ['runs', 'run', 'records']) void client.invalidateQueries({ queryKey: [key] });
    },
  });
}

export interface Respond { stopped?: string }

export const useRespond = () => useQuery({ queryKey: ['respond'], refetchInterval: 30_000, queryFn: ({ signal }) => get<Respond>('respond', {}, signal) });

export function useStop() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (stop: boolean) => put<Respond>('respond', { stop }),
    onSuccess: (r) => client.setQueryData(['respond'], r),
  });
}
