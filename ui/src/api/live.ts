import { type QueryClient, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { type StreamState, listen } from './stream';
import type { Agent, Health, Incident, Page } from './types';

const settle = 400; // ms in which a burst of messages becomes one read

/** stale marks queries as old, together with others of the same moment. */
function collector(client: QueryClient) {
  const keys = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    stale(key: string) {
      keys.add(key);
      timer ??= setTimeout(() => {
        timer = undefined;
        for (const k of keys) void client.invalidateQueries({ queryKey: [k] });
        keys.clear();
      }, settle);
    },
    end: () => clearTimeout(timer),
  };
}

function putIncident(client: QueryClient, inc: Incident) {
  client.setQueryData<Incident>(['incident', inc.id], (old) => (old && old.version <= inc.version ? inc : old));
}

function putAgent(client: QueryClient, a: Agent) {
  client.setQueryData<Page<Agent>>(['fleet'], (old) => {
    if (!old) return old;
    const known = old.items.some((x) => x.host === a.host);
    return { ...old, items: known ? old.items.map((x) => (x.host === a.host ? a : x)) : [...old.items, a] };
  });
}

/** useLive keeps the queries fresh by the server's stream, and says how the stream is. */
export function useLive(): StreamState {
  const client = useQueryClient();
  const [state, setState] = useState<StreamState>('connecting');
  useEffect(() => {
    const late = collector(client);
    const close = listen('/api/v1/stream', {
      incident: (d) => {
        putIncident(client, JSON.parse(d) as Incident);
        late.stale('incidents');
      },
      finding: () => late.stale('findings'),
      run: () => ['runs', 'run', 'records'].forEach(late.stale),
      respond: (d) => client.setQueryData(['respond'], JSON.parse(d)),
      fleet: (d) => putAgent(client, JSON.parse(d) as Agent),
      health: (d) => client.setQueryData<Health>(['health'], JSON.parse(d) as Health),
      reset: () => void client.invalidateQueries({ predicate: (q) => q.queryKey[0] !== 'events' && q.queryKey[0] !== 'hits' }),
    }, (s) => {
      setState(s);
      if (s === 'away') late.stale('session'); // signed out elsewhere, or the server is gone
    });
    return () => {
      late.end();
      close();
    };
  }, [client]);
  return state;
}
