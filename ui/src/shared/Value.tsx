import { useState } from 'react';
import { cut, visible } from './visible';

/** Value shows text that an attacker may have chosen: controls are visible, long text is cut. */
export function Value({ text, max = 400, mono = false }: { text: string; max?: number; mono?: boolean }) {
  const [all, setAll] = useState(false);
  const long = text.length > max;
  const shown = all ? text : cut(text, max);
  return (
    <span className={mono ? 'value mono' : 'value'} dir="ltr">
      {visible(shown).map((p, i) => (p.code ? <span key={i} className="control" title={p.code}>{p.text}</span> : p.text))}
      {long && (
        <button type="button" className="more" aria-expanded={all} onClick={(e) => { e.preventDefault(); e.stopPropagation(); setAll(!all); }}>
          {all ? 'show less' : `… show all ${text.length.toLocaleString('en')} characters`}
        </button>
      )}
    </span>
  );
}
