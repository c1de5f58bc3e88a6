import { useEffect, useRef } from 'react';

const typing = (t: EventTarget | null) =>
  t instanceof HTMLElement && (t.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(t.tagName));

/** useKeys calls the handler of a key that is pressed outside of fields and dialogs. "g e" is g, then e. */
export function useKeys(handlers: Record<string, () => void>) {
  const now = useRef(handlers);
  now.current = handlers;
  useEffect(() => {
    let before = '';
    let at = 0;
    const press = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || document.querySelector('[role=dialog]')) return;
      const two = e.timeStamp - at < 1000 ? before + ' ' + e.key : '';
      before = e.key;
      at = e.timeStamp;
      const handle = now.current[two] ?? (before === 'g' ? undefined : now.current[e.key]);
      if (!handle) return;
      e.preventDefault();
      handle();
    };
    window.addEventListener('keydown', press);
    return () => window.removeEventListener('keydown', press);
  }, []);
}

/** step moves the focus to the next (1) or previous (-1) link of a row. */
export function step(by: 1 | -1) {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')];
  if (rows.length === 0) return;
  const at = rows.findIndex((r) => r === document.activeElement);
  const next = at < 0 ? (by === 1 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + by));
  rows[next]?.focus();
}
