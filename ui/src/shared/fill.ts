/** Part is a stretch of text; value is set where it is a name that stands for one. */
export interface Part { text: string; value?: string }

const name = /__\w+?__|\b(?:ID|RUN|HASH)\b/g;

/** pieces splits text at the names that values has. */
export function pieces(text: string, values: Record<string, string>): Part[] {
  const out: Part[] = [];
  let from = 0;
  for (const m of text.matchAll(name)) {
    const value = Object.hasOwn(values, m[0]) ? values[m[0]] : undefined;
    if (!value) continue;
    if (m.index > from) out.push({ text: text.slice(from, m.index) });
    out.push({ text: m[0], value });
    from = m.index + m[0].length;
  }
  if (from < text.length) out.push({ text: text.slice(from) });
  return out;
}

/** fits reports whether a value may stand in a command that somebody copies to a shell: it is one plain word. */
export const fits = (value: string) => /^[\w@%+=:,./][\w@%+=:,./-]*$/.test(value);
