import type { Field } from '../api/types';

const plainWord = /^[\w.]+$/;

/** term writes field:value so that both the store's search and the live view read it. */
export function term(field: string, value: string, wanted: boolean): string {
  const name = plainWord.test(field) ? field : JSON.stringify(field);
  return `${wanted ? '' : '!'}${name}:${JSON.stringify(value)}`;
}

/** withTerm adds a term before the query's first pipe, once. A term and its opposite do not stand together. */
export function withTerm(q: string, field: string, value: string, wanted: boolean): string {
  const { search, pipes } = split(q);
  const add = term(field, value, wanted);
  const other = term(field, value, !wanted);
  let s = search.trim() === '*' ? '' : search.trim();
  if (wanted) s = s.replace(other, '').trim();
  else if (s === other || s.startsWith(other + ' ') || s.endsWith(' ' + other)) s = s.replace(other, '').trim();
  if (s.includes(add) && (wanted ? !s.includes('!' + add) : true)) return join(s, pipes);
  if (/\bor\b/i.test(s)) s = `(${s})`;
  return join(s ? s + ' ' + add : add, pipes);
}

const join = (search: string, pipes: string) => (pipes ? search + ' ' + pipes : search);

/** split cuts a query before its first pipe outside of quotes. */
export function split(q: string): { search: string; pipes: string } {
  let quote = '';
  for (let i = 0; i < q.length; i++) {
    const c = q[i]!;
    if (quote) {
      if (c === '\\' && quote !== '`') i++;
      else if (c === quote) quote = '';
    } else if (c === '"' || c === "'" || c === '`') quote = c;
    else if (c === '|') return { search: q.slice(0, i), pipes: q.slice(i) };
  }
  return { search: q, pipes: '' };
}

const most = 8;

/** suggest finds the fields that the word before the caret may become. */
export function suggest(q: string, caret: number, fields: Field[]): { from: number; fields: Field[] } {
  const word = /[\w.]*$/.exec(q.slice(0, caret))![0];
  const from = caret - word.length;
  const before = q.slice(0, from);
  const inQuotes = (before.match(/"/g) ?? []).length % 2 === 1;
  if (word.length < 2 || inQuotes || /[:=~<>/*]$/.test(before)) return { from, fields: [] };
  const w = word.toLowerCase();
  const rank = (f: Field) => {
    const name = f.name.toLowerCase();
    if (name.startsWith(w)) return 0;
    if (name.split('.').some((part) => part.startsWith(w))) return 1;
    if (f.sigma?.toLowerCase().startsWith(w)) return 2;
    return name.includes(w) ? 3 : 9;
  };
  const found = fields.map((f) => ({ f, r: rank(f) })).filter((x) => x.r < 9 && x.f.name !== word);
  found.sort((a, b) => a.r - b.r || a.f.name.localeCompare(b.f.name));
  return { from, fields: found.slice(0, most).map((x) => x.f) };
}
