import type { Technique as T } from '../api/types';
import { plain } from './visible';

const attack = /^T\d{4}(\.\d{3})?$/;
const atlas = /^AML\.T\d{4}(\.\d{3})?$/;

/** techniquePage is where a technique is described, or undefined for an id that is none. */
export function techniquePage(t: T): string | undefined {
  if (attack.test(t.id)) return 'https://attack.mitre.org/techniques/' + t.id.replace('.', '/') + '/';
  if (atlas.test(t.id)) return 'https://atlas.mitre.org/techniques/' + t.id;
  return undefined;
}

/** TechniqueID shows a technique's id; nothing is loaded from its page until it is followed. */
export function TechniqueID({ t, link = false }: { t: T; link?: boolean }) {
  const page = link ? techniquePage(t) : undefined;
  const title = [t.name, t.tactic].filter(Boolean).map((s) => plain(s!)).join(', ');
  const cls = 'technique mono ' + (t.framework === 'atlas' ? 'atlas' : 'attack');
  if (!page) return <span className={cls} title={title}>{plain(t.id)}</span>;
  return <a className={cls} title={title} href={page} target="_blank" rel="noreferrer">{t.id}</a>;
}
