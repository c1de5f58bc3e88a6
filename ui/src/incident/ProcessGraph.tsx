import { useComputedColorScheme } from '@mantine/core';
import cytoscape from 'cytoscape';
import { useEffect, useMemo, useRef } from 'react';
import type { ProcessNode } from '../api/types';
import { cut, plain } from '../shared/visible';
import { depth, layout, levelHeight } from './layout';
import { type Branch, forest } from './tree';

const colours = {
  light: { text: '#1b2733', node: '#eef2f5', line: '#8797a6', acting: '#ffe3e3', actingLine: '#c92a2a', drift: '#e67700', select: '#0b7285' },
  dark: { text: '#dbe4ec', node: '#26313b', line: '#5f7080', acting: '#4a1f22', actingLine: '#ff8787', drift: '#ffa94d', select: '#3bc9db' },
};

function look(c: typeof colours.light): cytoscape.StylesheetJson {
  return [
    { selector: 'node', style: {
      label: 'data(label)', 'text-wrap': 'wrap', 'text-valign': 'center', 'text-halign': 'center', 'font-size': 11, 'line-height': 1.25,
      'font-family': 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace', color: c.text, 'background-color': c.node,
      'border-color': c.line, 'border-width': 1, shape: 'round-rectangle', width: 'data(width)', height: 40,
    } },
    { selector: 'node.acting', style: { 'background-color': c.acting, 'border-color': c.actingLine, 'border-width': 2 } },
    { selector: 'node.drift', style: { 'border-style': 'dashed', 'border-color': c.drift, 'border-width': 2 } },
    { selector: 'node.chosen', style: { 'border-color': c.select, 'border-width': 3 } },
    { selector: 'edge', style: { width: 1.5, 'line-color': c.line, 'target-arrow-color': c.line, 'target-arrow-shape': 'triangle', 'arrow-scale': 0.8, 'curve-style': 'bezier' } },
  ];
}

const label = (p: ProcessNode) => `${cut(plain(p.name), 24)}\n${p.pid}${p.user ? ' · ' + cut(plain(p.user), 12) : ''}`;

const width = (b: Branch) => Math.max(72, Math.max(...label(b.process).split('\n').map((l) => l.length)) * 7 + 18);

function elements(roots: Branch[], acting: Set<string>): cytoscape.ElementDefinition[] {
  const out: cytoscape.ElementDefinition[] = [];
  const places = layout(roots, width);
  const add = (b: Branch, parent?: string) => {
    const p = b.process;
    const classes = [acting.has(p.uid) ? 'acting' : '', p.drift ? 'drift' : ''].join(' ');
    out.push({ data: { id: p.uid, label: label(p), width: width(b) }, position: places.get(p.uid), classes });
    if (parent !== undefined) out.push({ data: { id: parent + '>' + p.uid, source: parent, target: p.uid } });
    for (const child of b.children) add(child, p.uid);
  };
  for (const root of roots) add(root);
  return out;
}

interface Props { processes: ProcessNode[]; acting: Set<string>; chosen?: string; choose: (uid: string) => void }

/** ProcessGraph draws who started whom. The list beside it says the same in text. */
export function ProcessGraph({ processes, acting, chosen, choose }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const graph = useRef<cytoscape.Core | null>(null);
  const scheme = useComputedColorScheme('light');
  const roots = useMemo(() => forest(processes), [processes]);
  const shape = processes.map((p) => p.uid + (acting.has(p.uid) ? '!' : '')).join(' ');

  useEffect(() => {
    const cy = cytoscape({
      container: box.current, elements: elements(roots, acting), style: look(colours[scheme]),
      layout: { name: 'preset' },
      minZoom: 0.3, maxZoom: 1.6, userZoomingEnabled: false, autoungrabify: true, boxSelectionEnabled: false,
    });
    cy.fit(undefined, 16);
    cy.zoom(Math.max(0.6, Math.min(1.15, cy.zoom())));
    const first = cy.nodes('.acting').first();
    cy.center(cy.zoom() > 0.6 || first.empty() ? cy.nodes() : first);
    cy.on('tap', 'node', (e) => choose((e.target as cytoscape.NodeSingular).id()));
    graph.current = cy;
    return () => cy.destroy();
    // Drawn anew when the set of processes or the colours change, not at every read.
  }, [shape, scheme]);

  useEffect(() => {
    graph.current?.nodes().removeClass('chosen');
    if (chosen) graph.current?.getElementById(chosen).addClass('chosen');
  }, [chosen, shape, scheme]);

  const zoom = (by: number) => {
    const cy = graph.current;
    if (cy) cy.zoom({ level: cy.zoom() * by, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });
  };
  return (
    <div className="graph" style={{ height: Math.min(560, Math.max(240, depth(roots) * levelHeight + 40)) }}>
      <div ref={box} className="canvas" data-testid="process-graph" role="img" aria-label={`Graph of ${processes.length} processes; the list of processes says the same`} />
      <div className="zoom">
        <button type="button" aria-label="Zoom in" onClick={() => zoom(1.25)}>+</button>
        <button type="button" aria-label="Zoom out" onClick={() => zoom(0.8)}>−</button>
        <button type="button" onClick={() => graph.current?.fit(undefined, 16)}>fit</button>
      </div>
    </div>
  );
}
