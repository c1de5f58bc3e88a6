import type { ProcessNode } from '../api/types';

/** A process with its children, oldest first. */
export interface Branch { process: ProcessNode; children: Branch[] }

const order = (a: Branch, b: Branch) => a.process.start.localeCompare(b.process.start) || a.process.pid - b.process.pid;

/** forest makes trees of processes: who names no parent, or one that is not here, is a root. A loop is cut. */
export function forest(processes: ProcessNode[]): Branch[] {
  const all = new Map<string, Branch>();
  for (const p of processes) if (!all.has(p.uid)) all.set(p.uid, { process: p, children: [] });
  const roots: Branch[] = [];
  for (const b of all.values()) {
    const up = b.process.parent_uid ? all.get(b.process.parent_uid) : undefined;
    if (up && !loops(b, all)) up.children.push(b);
    else roots.push(b);
  }
  for (const b of all.values()) b.children.sort(order);
  return roots.sort(order);
}

function loops(from: Branch, all: Map<string, Branch>): boolean {
  const seen = new Set<string>();
  for (let b: Branch | undefined = from; b; b = b.process.parent_uid ? all.get(b.process.parent_uid) : undefined) {
    if (seen.has(b.process.uid)) return b.process.uid === from.process.uid;
    seen.add(b.process.uid);
  }
  return false;
}

/** flat lists the trees as they read from top to bottom. */
export function flat(roots: Branch[], depth = 0): { branch: Branch; depth: number }[] {
  return roots.flatMap((b) => [{ branch: b, depth }, ...flat(b.children, depth + 1)]);
}
