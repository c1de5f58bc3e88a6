import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Bucket } from '../api/types';

const colours = {
  light: { bar: '#0b7285', text: '#52606d', grid: '#e4e9ee' },
  dark: { bar: '#22b8cf', text: '#9fb0bf', grid: '#2c3843' },
};
const height = 110;

const two = (n: number) => String(n).padStart(2, '0');

function tick(d: Date, step: number): string {
  const day = `${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  if (step >= 86_400 || d.getHours() + d.getMinutes() + d.getSeconds() === 0) return day;
  return `${two(d.getHours())}:${two(d.getMinutes())}` + (step < 60 ? ':' + two(d.getSeconds()) : '');
}

function options(width: number, step: number, c: typeof colours.light, pick: (from: number, to: number) => void): uPlot.Options {
  const axis: uPlot.Axis = { stroke: c.text, grid: { stroke: c.grid, width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
  return {
    width, height,
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { show: false } },
    scales: { x: { range: (_u, min, max) => [min, max + step] }, y: { range: (_u, _min, max) => [0, Math.max(1, max)] } },
    axes: [{ ...axis, size: 26, values: (_u, at, _axis, _space, apart) => at.map((t) => tick(new Date(t * 1000), apart)) }, { ...axis, size: 46, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6], values: (_u, v) => v.map((n) => n.toLocaleString('en')) }],
    series: [{}, { stroke: c.bar, width: 0, fill: c.bar, points: { show: false }, paths: uPlot.paths.bars!({ size: [0.85, 24], align: 1 }) }],
    hooks: {
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        pick(u.posToVal(u.select.left, 'x'), u.posToVal(u.select.left + u.select.width, 'x'));
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      }],
    },
  };
}

interface Props { buckets: Bucket[]; pick: (start: string, end: string) => void }

/** Histogram shows how many events happened when; dragging over it chooses a time. */
export function Histogram({ buckets, pick }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme('light');
  const latest = useRef(pick);
  latest.current = pick;
  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const data: uPlot.AlignedData = [buckets.map((b) => Date.parse(b.time) / 1000), buckets.map((b) => b.count)];
    const step = data[0].length > 1 ? data[0][1]! - data[0][0]! : 60;
    const iso = (s: number) => new Date(s * 1000).toISOString();
    const plot = new uPlot(options(el.clientWidth, step, colours[scheme], (from, to) => latest.current(iso(from), iso(to))), data, el);
    const watch = new ResizeObserver(() => el.clientWidth > 0 && plot.setSize({ width: el.clientWidth, height }));
    watch.observe(el);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [buckets, scheme]);
  const total = buckets.reduce((n, b) => n + b.count, 0);
  return <div ref={box} className="histogram" role="img" aria-label={`${total.toLocaleString('en')} events over time`} />;
}
