import { useEffect, useRef, useState } from 'react';
import { type StreamState, listen } from '../api/stream';
import type { EventRow } from '../api/types';

const kept = 500; // rows; older ones go
const redraw = 250; // ms

export interface Tail { rows: EventRow[]; waiting: number; missed: number; state: StreamState }

const empty: Tail = { rows: [], waiting: 0, missed: 0, state: 'connecting' };

/** useTail follows the events that match q as they happen. While paused, they wait, as many as are kept. */
export function useTail(q: string, on: boolean, paused: boolean): Tail {
  const [tail, setTail] = useState(empty);
  const hold = useRef(paused);
  hold.current = paused;
  useEffect(() => {
    if (!on) return;
    let fresh: EventRow[] = [];
    let missed = 0;
    setTail(empty);
    const close = listen('/api/v1/stream?' + new URLSearchParams({ events: '1', q }), {
      event: (d) => {
        fresh.unshift(JSON.parse(d) as EventRow);
        if (fresh.length > kept) fresh.length = kept;
      },
      missed: (d) => { missed += (JSON.parse(d) as { count: number }).count; },
    }, (state) => setTail((t) => ({ ...t, state })));
    const timer = setInterval(() => {
      if (hold.current) {
        setTail((t) => (t.waiting === fresh.length ? t : { ...t, waiting: fresh.length }));
        return;
      }
      if (fresh.length === 0 && missed === 0) return;
      const [rows, lost] = [fresh, missed];
      fresh = [];
      missed = 0;
      setTail((t) => ({ ...t, rows: [...rows, ...t.rows].slice(0, kept), waiting: 0, missed: t.missed + lost }));
    }, redraw);
    return () => {
      clearInterval(timer);
      close();
    };
  }, [q, on]);
  return tail;
}
