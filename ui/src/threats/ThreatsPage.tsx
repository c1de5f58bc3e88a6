import { Group, SegmentedControl, TextInput, Title, VisuallyHidden } from '@mantine/core';
import { useRef } from 'react';
import { useSearchParams } from 'react-router';
import { useThreats } from '../api/queries';
import type { Covered } from '../api/types';
import { useKeys } from '../shared/keys';
import { Empty, Failure, Loading } from '../shared/States';
import { TechniqueID } from '../shared/Technique';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';
import { type By, type Count, chosen, count, lacks } from './count';

const moods = { seen: ['good', '●'], partly: ['warn', '▲'], dark: ['bad', '✕'] } as const;

/** ThreatsPage says what attackers do to AI workloads, and what of it Picket sees. Its filters are in the address. */
export function ThreatsPage() {
  const threats = useThreats();
  const [params, setParams] = useSearchParams();
  const box = useRef<HTMLInputElement>(null);
  useKeys({ '/': () => box.current?.focus() });
  const filter = { by: (params.get('by') ?? 'group') as By, key: params.get('key') ?? '', coverage: params.get('coverage') ?? '', q: params.get('q') ?? '' };
  const set = (values: Record<string, string>) => setParams((p) => {
    for (const [k, v] of Object.entries(values)) {
      if (v) p.set(k, v);
      else p.delete(k);
    }
    return p;
  }, { replace: true });
  const items = threats.data?.items ?? [];
  const list = chosen(items, filter);
  return (
    <>
      <Group justify="space-between" mb="sm" gap="xs">
        <Title order={1}>Threats</Title>
        <Group gap="xs" role="search">
          <SegmentedControl size="xs" aria-label="Count by" value={filter.by} onChange={(v) => set({ by: v === 'group' ? '' : v, key: '' })}
            data={[{ value: 'group', label: 'Group' }, { value: 'atlas', label: 'ATLAS' }, { value: 'attack', label: 'ATT&CK' }]} />
          <SegmentedControl size="xs" aria-label="Coverage" value={filter.coverage} onChange={(v) => set({ coverage: v })}
            data={[{ value: '', label: 'All' }, { value: 'seen', label: 'Seen' }, { value: 'partly', label: 'Partly' }, { value: 'dark', label: 'Dark' }]} />
          <TextInput ref={box} size="xs" w={220} type="search" aria-label="Search threats" placeholder="Search threats… ( / )" value={filter.q} onChange={(e) => set({ q: e.currentTarget.value })} />
        </Group>
      </Group>
      {threats.isError && <Failure what="Reading threats" error={threats.error} retry={() => void threats.refetch()} />}
      {threats.isPending && <Loading />}
      {threats.isSuccess && (
        <>
          <Counts counts={count(items, filter.by)} of={items} chosen={filter.key} choose={(k) => set({ key: k === filter.key ? '' : k })} />
          {list.length === 0 && <Empty title="No entry matches">Take a filter away.</Empty>}
          {list.length > 0 && (
            <div className="card scroll" tabIndex={0} role="region" aria-label="Threats">
              <table className="grid wide">
                <thead><tr><th>Id</th><th>Coverage</th><th>What the attacker does</th><th>Rules, or why there are none</th><th>Rests on</th><th>Techniques</th></tr></thead>
                <tbody>{list.map((c) => <Row key={c.id} c={c} />)}</tbody>
              </table>
            </div>
          )}
        </>
      )}
    </>
  );
}

function Counts({ counts, of, chosen, choose }: { counts: Count[]; of: Covered[]; chosen: string; choose: (key: string) => void }) {
  const n = (w: Covered['coverage']) => of.filter((c) => c.coverage === w).length;
  return (
    <section className="card section" aria-label="Counts">
      <p data-testid="total">{of.length} entries: {n('seen')} seen, {n('partly')} partly, {n('dark')} dark.</p>
      <ul className="counts">
        {counts.map((c) => (
          <li key={c.key}>
            <button type="button" aria-pressed={c.key === chosen} onClick={() => choose(c.key)} title={c.name && plain(c.name)}>
              <span className="line">{plain(c.key)}</span>
              <span className="num small"><span className="state good">{c.seen}</span> <span className="state warn">{c.partly}</span> <span className="state bad">{c.dark}</span>
                <VisuallyHidden> seen, partly, dark</VisuallyHidden></span>
            </button>
          </li>
        ))}
      </ul>
      <p className="quiet small"><span className="state good">● seen</span> a rule tells of it · <span className="state warn">▲ partly</span> a part stays dark · <span className="state bad">✕ dark</span> no rule does</p>
    </section>
  );
}

function Row({ c }: { c: Covered }) {
  const [mood, mark] = moods[c.coverage];
  const lack = lacks(c);
  return (
    <tr>
      <td className="mono num">{c.id}</td>
      <td><span className={'state ' + mood}><span aria-hidden="true">{mark}</span> {c.coverage}</span>{lack && <div className="warning small">{lack === 'all' ? 'not here' : 'in part here'}</div>}</td>
      <td><b><Value text={c.title} max={200} /></b><div className="quiet small">{plain(c.group)}</div></td>
      <td>{c.rules.length > 0 && <div className="mono small">{c.rules.map(plain).join(', ')}</div>}{c.gap && <div className="small"><span className="quiet">Dark: </span><Value text={c.gap} max={400} /></div>}
        {c.unloaded && c.unloaded.length > 0 && <div className="warning small">Not loaded: {c.unloaded.map(plain).join(', ')}</div>}</td>
      <td className="small">{c.needs.map((n) => <div key={n} className="mono">{plain(n)}{c.missing?.[n] && <span className="warning"> lacking on {c.missing[n].slice(0, 3).map(plain).join(', ')}{c.missing[n].length > 3 && ` and ${c.missing[n].length - 3} more`}</span>}</div>)}</td>
      <td><span className="tags">{c.techniques.map((t) => <TechniqueID key={t.framework + t.id} t={t} link />)}</span></td>
    </tr>
  );
}
