const units: [string, number][] = [['d', 86_400], ['h', 3_600], ['min', 60], ['s', 1]];

/** ago writes how long before now the moment at was: "3 min". */
export function ago(at: number, now: number): string {
  const s = Math.round((now - at) / 1000);
  if (Math.abs(s) < 2) return 'now';
  for (const [name, size] of units) {
    if (Math.abs(s) >= size) return (s < 0 ? 'in ' : '') + Math.floor(Math.abs(s) / size) + ' ' + name;
  }
  return 'now';
}

/** span writes a length of time: "2 min 5 s". */
export function span(ms: number): string {
  if (ms < 1000) return Math.max(0, Math.round(ms)) + ' ms';
  let s = Math.round(ms / 1000);
  const out: string[] = [];
  for (const [name, size] of units) {
    if (s >= size && out.length < 2) {
      out.push(Math.floor(s / size) + ' ' + name);
      s %= size;
    }
  }
  return out.join(' ');
}

const two = (n: number, width = 2) => String(n).padStart(width, '0');

/** clock writes the local time of day with milliseconds. */
export function clock(d: Date): string {
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${two(d.getMilliseconds(), 3)}`;
}

/** moment writes the time of day, with the day before it where it is not that of now. */
export function moment(d: Date, now: Date): string {
  if (Number.isNaN(d.getTime())) return '';
  if (d.toDateString() === now.toDateString()) return clock(d);
  const day = `${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(d).slice(0, 8)}`;
  return d.getFullYear() === now.getFullYear() ? day : `${d.getFullYear()}-${day.slice(0, 11)}`;
}

/** exact writes date and time in the reader's zone, and in UTC. */
export function exact(text: string): string {
  const d = new Date(text);
  if (Number.isNaN(d.getTime())) return text;
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(d)} (${d.toISOString()})`;
}
