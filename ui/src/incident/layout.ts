import type { Branch } from './tree';

export interface Place { x: number; y: number }

export const levelHeight = 66;
const gap = 18;

/** layout places every process of the trees: a parent over the middle of its children, no two over each other. */
export function layout(roots: Branch[], width: (b: Branch) => number): Map<string, Place> {
  const places = new Map<string, Place>();
  let left = 0;
  for (const r of roots) left = place(r, left, 0, width, places) + gap;
  return places;
}

/** place puts b and all below it right of left, and returns where they end. */
function place(b: Branch, left: number, depth: number, width: (b: Branch) => number, places: Map<string, Place>): number {
  const own = width(b);
  const below = b.children.reduce((n, c) => n + span(c, width), 0) + gap * Math.max(0, b.children.length - 1);
  const whole = Math.max(own, below);
  places.set(b.process.uid, { x: left + whole / 2, y: depth * levelHeight });
  let at = left + (whole - below) / 2;
  for (const c of b.children) at = place(c, at, depth + 1, width, places) + gap;
  return left + whole;
}

function span(b: Branch, width: (b: Branch) => number): number {
  const below = b.children.reduce((n, c) => n + span(c, width), 0) + gap * Math.max(0, b.children.length - 1);
  return Math.max(width(b), below);
}

/** depth is how many levels the trees have. */
export const depth = (roots: Branch[]): number => roots.reduce((n, b) => Math.max(n, 1 + depth(b.children)), 0);
