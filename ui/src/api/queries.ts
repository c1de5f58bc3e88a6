import { QueryClient, keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Problem, get, patch, post, remove, setCSRF } from './client';
import type { Agent, Bucket, Covered, EventPage, Field, Finding, GPU, Health, Incident, IncidentPatch, LoadedRule, Page, Running, Session } from './types';

/** newQueryClient retries what may pass by itself, and asks who is signed in after a 401. */
export function newQueryClient(): QueryClient {
  const client = new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 10_000,
        retry: (n, e) => n < 2 && !(e instanceof Problem && e.status >= 400 && e.status < 500),
      },
    },
  });
  client.getQueryCache().subscribe((e) => {
    if (e.type !== 'updated' || e.action.type !== 'error' || e.query.queryKey[0] === 'session') return;
    if (e.action.error instanceof Problem && e.action.error.status === 401) {
      void client.invalidateQueries({ queryKey: ['session'] });
    }
  });
  return client;
}

export function useSession() {
  return useQuery({
    queryKey: ['session'],
    staleTime: Infinity,
    queryFn: async ({ signal }) => {
      try {
        const s = await get<Session>('session', {}, signal);
        setCSRF(s.csrf);
        return s;
      } catch (e) {
        if (e instanceof Problem && e.status === 401) return null;
        throw e;
      }
    },
  });
}

export function useSignIn() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (who: { user: string; password: string }) => post<Session>('session', who),
    onSuccess: () => client.invalidateQueries(),
  });
}

export function useSignOut() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => remove('session'),
    onSuccess: () => {
      setCSRF('');
      client.clear();
      location.assign('/');
    },
  });
}

export function useSetPassword() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (pw: string) => post('session/password', { new: pw }),
    onSuccess: () => client.invalidateQueries({ queryKey: ['session'] }),
  });
}

export interface IncidentFilter { status: string; severity: string; q: string }

export function useIncidents(f: IncidentFilter) {
  return useInfiniteQuery({
    queryKey: ['incidents', f],
    initialPageParam: '',
    placeholderData: keepPreviousData,
    queryFn: ({ pageParam, signal }) => get<Page<Incident>>('incidents', { ...f, limit: 50, before: pageParam }, signal),
    getNextPageParam: (last) => last.next || undefined,
  });
}

export function useIncident(id: string) {
  return useQuery({ queryKey: ['incident', id], queryFn: ({ signal }) => get<Incident>('incidents/' + encodeURIComponent(id), {}, signal) });
}

export function useChangeIncident(id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (p: IncidentPatch) => patch<Incident>('incidents/' + encodeURIComponent(id), p),
    onSuccess: (inc) => {
      client.setQueryData(['incident', id], inc);
      void client.invalidateQueries({ queryKey: ['incidents'] });
    },
    onError: () => client.invalidateQueries({ queryKey: ['incident', id] }), // a 409: show what changed meanwhile
  });
}

export function useFindings(incident: string) {
  return useQuery({
    queryKey: ['findings', incident],
    queryFn: ({ signal }) => get<Page<Finding>>('findings', { incident, limit: 200 }, signal),
  });
}

export interface Hunt { q: string; start: string; end: string }

export function useEvents(h: Hunt, enabled: boolean) {
  return useInfiniteQuery({
    queryKey: ['events', h],
    enabled,
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) => get<EventPage>('events', { ...h, limit: 200, before: pageParam }, signal),
    getNextPageParam: (last) => last.next || undefined,
  });
}

export function useHits(h: Hunt, enabled: boolean) {
  return useQuery({
    queryKey: ['hits', h],
    enabled,
    queryFn: async ({ signal }) => (await get<{ buckets: Bucket[] }>('events/hits', { ...h, buckets: 90 }, signal)).buckets,
  });
}

export function useFields() {
  return useQuery({
    queryKey: ['fields'],
    staleTime: Infinity,
    queryFn: async ({ signal }) => (await get<Page<Field>>('events/fields', {}, signal)).items.filter((f) => f.name),
  });
}

export const useFleet = () => useQuery({ queryKey: ['fleet'], refetchInterval: 30_000, queryFn: ({ signal }) => get<Page<Agent>>('fleet', {}, signal) });
export const useInventory = () => useQuery({ queryKey: ['inventory'], refetchInterval: 30_000, queryFn: ({ signal }) => get<Page<Running>>('inventory', {}, signal) });
export const useGPUs = () => useQuery({ queryKey: ['gpus'], refetchInterval: 10_000, queryFn: ({ signal }) => get<Page<GPU>>('gpus', {}, signal) });
export const useThreats = () => useQuery({ queryKey: ['threats'], staleTime: 60_000, queryFn: ({ signal }) => get<Page<Covered>>('threats', {}, signal) });
export const useHealth = () => useQuery({ queryKey: ['health'], refetchInterval: 30_000, queryFn: ({ signal }) => get<Health>('health', {}, signal) });
export const useRules = () => useQuery({ queryKey: ['rules'], refetchInterval: 30_000, queryFn: ({ signal }) => get<Page<LoadedRule>>('rules', {}, signal) });
