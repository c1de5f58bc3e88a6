import type { Covered } from '../api/types';

export type By = 'group' | 'atlas' | 'attack';
export type Coverage = Covered['coverage'];
export interface Count { key: string; name?: string; seen: number; partly: number; dark: number }

/** count adds entries up by their group, or by technique of one framework. */
export function count(items: Covered[], by: By): Count[] {
  const out = new Map<string, Count>();
  const add = (key: string, c: Covered, name?: string) => {
    const n = out.get(key) ?? { key, name, seen: 0, partly: 0, dark: 0 };
    n[c.coverage]++;
    out.set(key, n);
  };
  for (const c of items) {
    if (by === 'group') add(c.group, c);
    else for (const id of new Set(c[by])) add(id, c, c.techniques.find((t) => t.id === id)?.name);
  }
  return by === 'group' ? [...out.values()] : [...out.values()].sort((a, b) => a.key.localeCompare(b.key));
}

export interface Filter { by: By; key: string; coverage: string; q: string }

/** chosen are the entries that a filter lets through. */
export function chosen(items: Covered[], f: Filter): Covered[] {
  const q = f.q.toLowerCase();
  return items.filter((c) => (!f.coverage || c.coverage === f.coverage)
    && (!f.key || (f.by === 'group' ? c.group === f.key : c[f.by].includes(f.key)))
    && (!q || [c.id, c.title, c.group, c.gap, ...c.rules, ...c.needs, ...c.techniques.map((t) => t.id + ' ' + (t.name ?? ''))].join(' ').toLowerCase().includes(q)));
}

/** lacks says in a word whether hosts lack what an entry rests on: '', 'some' or 'all' of it. */
export function lacks(c: Covered): '' | 'some' | 'all' {
  const missing = Object.keys(c.missing ?? {}).length;
  if (!missing && !c.unloaded?.length) return '';
  return missing && missing === c.needs.length || c.unloaded?.length === c.rules.length ? 'all' : 'some';
}
