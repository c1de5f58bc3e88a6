import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { plain } from '../shared/visible';
import type { Series } from './series';

const colours = {
  light: { text: '#52606d', grid: '#e4e9ee', mark: '#a61046', lines: ['#0b7285', '#b35c00', '#1864ab', '#862e9c', '#216e39', '#a61046', '#5c6770', '#8f4600'] },
  dark: { text: '#9fb0bf', grid: '#2c3843', mark: '#ff6b9a', lines: ['#22b8cf', '#ffb454', '#74c0fc', '#e599f7', '#69db7c', '#ff8787', '#9fb0bf', '#ffd8a8'] },
};
const height = 150;

const two = (n: number) => String(n).padStart(2, '0');
const clock = (t: number, apart: number) => {
  const d = new Date(t * 1000);
  return apart >= 43_200 ? `${two(d.getMonth() + 1)}-${two(d.getDate())}` : `${two(d.getHours())}:${two(d.getMinutes())}`;
};

interface Props { title: string; unit: string; data: Series; from: number; to: number; top?: number; marks: number[] }

/** Chart draws lines over time, and a mark where something was found. The legend tells the latest values in text. */
export function Chart({ title, unit, data, from, to, top, marks }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme('light');
  const c = colours[scheme];
  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const axis: uPlot.Axis = { stroke: c.text, grid: { stroke: c.grid, width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    const plot = new uPlot({
      width: el.clientWidth, height, legend: { show: false }, cursor: { y: false, drag: { x: false, y: false } },
      scales: { x: { range: () => [from, to] }, y: { range: (_u, _min, max) => [0, top ?? Math.max(1, max * 1.1)] } },
      axes: [{ ...axis, size: 24, values: (_u, at, _a, _s, apart) => at.map((t) => clock(t, apart)) }, { ...axis, size: 52, values: (_u, v) => v.map((n) => n.toLocaleString('en')) }],
      series: [{}, ...data.lines.map((_l, n): uPlot.Series => ({ stroke: c.lines[n % c.lines.length], width: n === 0 ? 2 : 1.5, spanGaps: true, points: { size: 4 }, dash: n === 0 ? undefined : [6, 3] }))],
      hooks: { draw: [(u) => draw(u, marks, c.mark)] },
    }, [data.times, ...data.lines.map((l) => l.values)] as uPlot.AlignedData, el);
    const watch = new ResizeObserver(() => el.clientWidth > 0 && plot.setSize({ width: el.clientWidth, height }));
    watch.observe(el);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [data, from, to, top, marks, c]);
  const latest = (values: (number | null)[]) => values.findLast((v) => v !== null);
  return (
    <figure className="chart">
      <figcaption><b>{title}</b> <span className="quiet">{unit}</span></figcaption>
      <div ref={box} role="img" aria-label={`${title} over time, ${data.lines.length} lines; the list below has the latest values`} />
      <ul className="legend">
        {data.lines.map((l, n) => <li key={l.key}><svg width="18" height="8" aria-hidden="true"><line x1="0" x2="18" y1="4" y2="4" stroke={c.lines[n % c.lines.length]} strokeWidth={n === 0 ? 3 : 2} strokeDasharray={n === 0 ? undefined : '6 3'} /></svg> {plain(l.label)} <span className="num quiet">{latest(l.values)?.toLocaleString('en', { maximumFractionDigits: 1 }) ?? '–'}</span></li>)}
        {data.lines.length === 0 && <li className="quiet">Not told in this time.</li>}
      </ul>
    </figure>
  );
}

function draw(u: uPlot, marks: number[], colour: string) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.setLineDash([]); // the last line's may be set
  ctx.lineWidth = 2 * devicePixelRatio;
  for (const at of marks) {
    const x = u.valToPos(at, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
