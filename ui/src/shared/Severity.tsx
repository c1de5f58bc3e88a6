import type { Severity as Level, Status } from '../api/types';

export const levels: Level[] = ['informational', 'low', 'medium', 'high', 'critical'];

const words: Record<Level, string> = { informational: 'Info', low: 'Low', medium: 'Medium', high: 'High', critical: 'Critical' };

/** Severity shows a level as bars and a word, so that it does not need its colour. */
export function Severity({ level }: { level: Level }) {
  const n = levels.indexOf(level) + 1;
  return (
    <span className={'severity ' + level}>
      <svg width="17" height="12" viewBox="0 0 17 12" aria-hidden="true">
        {levels.map((l, i) => <rect key={l} x={i * 3.5} y={8 - i * 2} width="2.5" height={4 + i * 2} rx="0.6" className={i < n ? 'on' : 'off'} />)}
      </svg>
      {words[level] ?? level}
    </span>
  );
}

/** StatusTag shows where an incident stands. */
export function StatusTag({ status, verdict }: { status: Status; verdict?: string }) {
  const text = verdict ? `${status} · ${verdict.replace('_', ' ')}` : status;
  return <span className={'status ' + status}><span className="mark" aria-hidden="true" />{text}</span>;
}

/** Risk shows 0 to 100 as a number over a thin bar. */
export function Risk({ value }: { value: number }) {
  const n = Math.max(0, Math.min(100, value));
  return (
    <span className="risk" title={`risk ${n} of 100`}>
      <span className="num">{n}</span>
      <svg width="36" height="4" aria-hidden="true"><rect width="36" height="4" rx="2" className="track" /><rect width={n * 0.36} height="4" rx="2" className="fill" /></svg>
    </span>
  );
}
