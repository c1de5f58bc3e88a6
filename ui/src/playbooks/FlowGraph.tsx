import { useComputedColorScheme } from '@mantine/core';
import cytoscape from 'cytoscape';
import { useEffect, useMemo, useRef } from 'react';
import type { Playbook } from '../api/types';
import { Value } from '../shared/Value';
import { cut, plain } from '../shared/visible';
import { type Flow, flow, ways } from './flow';

const colours = {
  light: { text: '#1b2733', ground: '#f4f6f8', node: '#eef2f5', line: '#8797a6', ask: '#fff3d6', askLine: '#b36b00', end: '#dbe2e8' },
  dark: { text: '#dbe4ec', ground: '#11181e', node: '#26313b', line: '#5f7080', ask: '#3d2f10', askLine: '#ffb454', end: '#2b3741' },
};
const [across, down] = [230, 84];

function look(c: typeof colours.light): cytoscape.StylesheetJson {
  return [
    { selector: 'node', style: {
      label: 'data(label)', 'text-wrap': 'wrap', 'text-max-width': '180px', 'text-valign': 'center', 'text-halign': 'center', 'font-size': 12, 'font-family': 'system-ui, sans-serif',
      color: c.text, 'background-color': c.node, 'border-color': c.line, 'border-width': 1, shape: 'round-rectangle', width: 196, height: 42,
    } },
    { selector: 'node.ask', style: { 'background-color': c.ask, 'border-color': c.askLine, 'border-width': 2 } },
    { selector: 'node.start, node.end', style: { 'background-color': c.end, width: 64, height: 26 } },
    { selector: 'edge', style: {
      width: 1.5, 'line-color': c.line, 'target-arrow-color': c.line, 'target-arrow-shape': 'triangle', 'arrow-scale': 0.9, 'curve-style': 'bezier',
      label: 'data(label)', 'font-size': 11, 'font-family': 'system-ui, sans-serif', color: c.text, 'text-background-color': c.ground, 'text-background-opacity': 1, 'text-background-padding': '2px',
    } },
    { selector: 'edge.back', style: { 'line-style': 'dashed' } },
  ];
}

function elements(f: Flow): cytoscape.ElementDefinition[] {
  const wide = new Map<number, number>();
  for (const n of f.nodes) wide.set(n.level, Math.max(wide.get(n.level) ?? 0, n.place + 1));
  return [
    ...f.nodes.map((n) => ({ data: { id: n.id, label: cut(plain(n.label), 60) }, classes: n.kind, position: { x: (n.place - (wide.get(n.level)! - 1) / 2) * across, y: n.level * down } })),
    ...f.edges.map((e, n) => ({ data: { id: 'e' + n, source: e.from, target: e.to, label: cut(plain(e.label), 24) }, classes: e.back ? 'back' : '' })),
  ];
}

/** FlowGraph draws the steps of a playbook, and beside them says the same in text. */
export function FlowGraph({ body }: { body: Playbook['body'] }) {
  const box = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme('light');
  const f = useMemo(() => flow(body.workflow_start, body.workflow), [body]);
  useEffect(() => {
    const cy = cytoscape({
      container: box.current, elements: elements(f), style: look(colours[scheme]), layout: { name: 'preset' },
      minZoom: 0.2, maxZoom: 1.1, userZoomingEnabled: false, autoungrabify: true, boxSelectionEnabled: false,
    });
    cy.fit(undefined, 20);
    return () => cy.destroy();
  }, [f, scheme]);
  const number = new Map(f.nodes.map((n, i) => [n.id, i + 1]));
  const levels = Math.max(0, ...f.nodes.map((n) => n.level)) + 1;
  return (
    <div className="processes">
      <div className="graph" style={{ height: Math.min(760, Math.max(240, levels * down * 0.8)) }}>
        <div ref={box} className="canvas" data-testid="flow" role="img" aria-label={`Graph of ${f.nodes.length} steps; the list of steps says the same`} />
      </div>
      <ol className="acts" aria-label="Steps">
        {f.nodes.map((n) => {
          const agent = body.agent_definitions?.[n.step.agent ?? '']?.name;
          return (
            <li key={n.id}>
              <b><Value text={n.label} max={120} /></b> {agent && <span className="quiet small">by <Value text={agent} max={60} /></span>}
              {n.step.description && <div className="quiet"><Value text={n.step.description} max={300} /></div>}
              {n.step.condition && <div><Value text={n.step.condition} max={300} /></div>}
              {n.step.commands?.map((c, i) => (c.type === 'manual' ? <div key={i}><Value text={c.command ?? ''} max={400} /></div> : null))}
              <div className="small quiet">{ways(n.step).filter((w) => number.has(w.to)).map((w) => `${w.label ? plain(w.label) + ': ' : 'then '}step ${number.get(w.to)}`).join(' · ')}</div>
            </li>
          );
        })}
      </ol>
    </div>
  );
}
