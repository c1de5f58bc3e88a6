import { TextInput, Title } from '@mantine/core';
import { useRef, useState } from 'react';
import { useRules } from '../api/queries';
import type { LoadedRule } from '../api/types';
import { useKeys } from '../shared/keys';
import { Severity, levels } from '../shared/Severity';
import { Empty, Failure, Loading } from '../shared/States';
import { TechniqueID } from '../shared/Technique';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';

/** A public rule set has thousands of rules that no event here can fire: more than this are found by searching. */
const most = 500;

const text = (r: LoadedRule) => [r.name, r.title, r.threat, r.description, r.inactive, ...r.techniques.map((t) => t.id)].join(' ').toLowerCase();

/** RulesPage lists the detections that are loaded. */
export function RulesPage() {
  const rules = useRules();
  const box = useRef<HTMLInputElement>(null);
  const [q, setQ] = useState('');
  useKeys({ '/': () => box.current?.focus() });
  const items = (rules.data?.items ?? []).filter((r) => text(r).includes(q.toLowerCase()))
    .sort((a, b) => Number(!!a.inactive) - Number(!!b.inactive) || levels.indexOf(b.level) - levels.indexOf(a.level) || a.title.localeCompare(b.title));
  return (
    <>
      <div className="bar">
        <Title order={1}>Rules</Title>
        <TextInput ref={box} size="xs" w={240} type="search" aria-label="Search rules" placeholder="Search rules… ( / )" value={q} onChange={(e) => setQ(e.currentTarget.value)} />
      </div>
      {rules.isError && <Failure what="Reading rules" error={rules.error} retry={() => void rules.refetch()} />}
      {rules.isPending && <Loading />}
      {rules.isSuccess && items.length === 0 && <Empty title={q ? 'No rule matches' : 'No rule is loaded'}>{q ? 'Take a word away.' : 'An agent reports its rules when it starts.'}</Empty>}
      {items.length > 0 && (
        <div className="card scroll" tabIndex={0} role="region" aria-label="Loaded rules">
          <table className="grid wide">
            <thead><tr><th>Level</th><th>Rule</th><th>Threat</th><th>Techniques</th><th title="How often it fired since the agents started">Hits</th><th title="Fired without a finding: an exception, a noisy rule, or a finding that had just said it">Suppressed</th></tr></thead>
            <tbody>{items.slice(0, most).map((r) => <Row key={r.id} r={r} />)}</tbody>
          </table>
          {items.length > most && <p className="quiet small">{items.length - most} more rules: search for them.</p>}
        </div>
      )}
    </>
  );
}

function Row({ r }: { r: LoadedRule }) {
  return (
    <tr>
      <td><Severity level={r.level} /></td>
      <td><b><Value text={r.title} max={160} /></b>{r.description && <div className="quiet small"><Value text={r.description} max={260} /></div>}
        {r.inactive && <div className="quiet small">Inactive: <Value text={r.inactive} max={160} /></div>}</td>
      <td className="mono">{plain(r.threat ?? '–')}</td>
      <td><span className="tags">{r.techniques.map((t) => <TechniqueID key={t.id + t.tactic} t={t} link />)}</span></td>
      <td className="mono">{r.inactive ? '–' : r.hits}</td>
      <td className="mono">{r.inactive ? '–' : r.suppressed}</td>
    </tr>
  );
}
