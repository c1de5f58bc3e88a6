const good = new Set(['ok', 'running', 'up']);
const middling = new Set(['degraded', 'silent', 'starting']);

/** State shows a status by a mark and its word. */
export function State({ value }: { value: string }) {
  const mood = good.has(value) ? 'good' : middling.has(value) ? 'warn' : 'bad';
  return <span className={'state ' + mood}><span aria-hidden="true">{{ good: '●', warn: '▲', bad: '✕' }[mood]}</span> {value}</span>;
}
