import type { EventRow } from '../api/types';

export const ranges = { '1h': '1m', '6h': '5m', '24h': '15m', '7d': '2h' } as const;
export type Range = keyof typeof ranges;

const quoted = (s: string) => JSON.stringify(s);

/** queryOf asks for a GPU's samples, a row a step; queryOfUsers for those of its processes. */
export const queryOf = (host: string, uuid: string, range: Range) =>
  `event.kind:="gpu.sample" host:=${quoted(host)} gpu.uuid:=${quoted(uuid)} !process.uid:* | stats by (_time:${ranges[range]}) max(gpu.util) util, max(gpu.memory.used) memory, max(gpu.power) power, max(gpu.clock) clock, max(gpu.clock_memory) clock_memory, max(gpu.temperature) temperature, max(gpu.ecc) ecc`;
export const queryOfUsers = (host: string, uuid: string, range: Range) =>
  `event.kind:="gpu.sample" host:=${quoted(host)} gpu.uuid:=${quoted(uuid)} process.uid:* | stats by (_time:${ranges[range]}, process.uid, process.name, process.pid, ai.workload.name) max(gpu.process.util) util, max(gpu.process.memory) memory, max(gpu.mining.score) mining`;
/** queryOfFaults asks for what the driver said of faults; it names the GPU by its address on the bus, not always by its identity. */
export const queryOfFaults = (host: string, uuid: string, pci: string) =>
  `event.kind:="gpu.error" host:=${quoted(host)} (gpu.uuid:=${quoted(uuid)}${pci ? ` or gpu.pci:=${quoted(pci)}` : ''})`;

export interface Line { key: string; label: string; values: (number | null)[] }
export interface Series { times: number[]; lines: Line[] }

const number = (s: string | undefined) => (s === undefined || s === '' || Number.isNaN(Number(s)) ? null : Number(s));

/** series makes lines of rows that each have a _time: a line for each key, with the value of a field divided by unit. */
export function series(rows: EventRow[], field: string, unit: number, keyOf: (r: EventRow) => { key: string; label: string }): Series {
  const times = [...new Set(rows.map((r) => Date.parse(r._time ?? '') / 1000).filter((t) => !Number.isNaN(t)))].sort((a, b) => a - b);
  const place = new Map(times.map((t, n) => [t, n]));
  const lines = new Map<string, Line>();
  for (const r of rows) {
    const v = number(r[field]);
    const n = place.get(Date.parse(r._time ?? '') / 1000);
    if (v === null || n === undefined) continue;
    const { key, label } = keyOf(r);
    let line = lines.get(key);
    if (!line) lines.set(key, line = { key, label, values: times.map(() => null) });
    line.values[n] = v / unit;
  }
  return { times, lines: [...lines.values()] };
}

/** together puts series with times of their own on the times of all. */
export function together(...all: Series[]): Series {
  const times = [...new Set(all.flatMap((s) => s.times))].sort((a, b) => a - b);
  const place = new Map(times.map((t, n) => [t, n]));
  const lines = all.flatMap((s) => s.lines.map((l) => {
    const values = times.map((): number | null => null);
    s.times.forEach((t, n) => { values[place.get(t)!] = l.values[n]!; });
    return { ...l, values };
  }));
  return { times, lines };
}

/** heaviest keeps the lines whose greatest value is the greatest. */
export function heaviest(s: Series, most: number): Series {
  const peak = (l: Line) => Math.max(...l.values.map((v) => v ?? 0));
  return { times: s.times, lines: [...s.lines].sort((a, b) => peak(b) - peak(a)).slice(0, most) };
}
