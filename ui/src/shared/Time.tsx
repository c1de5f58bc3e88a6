import { useSyncExternalStore } from 'react';
import { ago, exact, moment } from './time';

let now = Date.now();
const watchers = new Set<() => void>();
setInterval(() => {
  now = Date.now();
  for (const w of watchers) w();
}, 5_000);

/** useNow is the time, which moves every few seconds. */
export function useNow(): number {
  return useSyncExternalStore((w) => {
    watchers.add(w);
    return () => watchers.delete(w);
  }, () => now);
}

/** Ago shows how long ago something was; the exact time is its title. */
export function Ago({ at, suffix = '' }: { at: string; suffix?: string }) {
  const t = useNow();
  const text = ago(Date.parse(at), Math.max(t, Date.parse(at)));
  return <time dateTime={at} title={exact(at)} className="num">{text === 'now' ? text : text + suffix}</time>;
}

/** Until shows in how long something will be; the exact time is its title. */
export function Until({ at }: { at: string }) {
  return <time dateTime={at} title={exact(at)} className="num">{ago(Date.parse(at), useNow())}</time>;
}

/** Clock shows the time of day, and the day if it is another; the exact time is its title. */
export function Clock({ at }: { at: string }) {
  return <time dateTime={at} title={exact(at)} className="mono num">{moment(new Date(at), new Date())}</time>;
}
