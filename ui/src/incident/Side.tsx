import { Link } from 'react-router';
import type { Entity, Technique } from '../api/types';
import { TechniqueID } from '../shared/Technique';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';

const frameworks: Record<string, string> = { attack: 'ATT&CK', atlas: 'ATLAS' };

export function Techniques({ techniques }: { techniques: Technique[] }) {
  if (techniques.length === 0) return <p className="quiet">No technique is named by the rules.</p>;
  return (
    <ul className="plain" data-testid="techniques">
      {techniques.map((t) => (
        <li key={t.framework + t.id + t.tactic}>
          <TechniqueID t={t} link /> <Value text={t.name ?? ''} max={80} />
          <div className="quiet small">{frameworks[t.framework] ?? plain(t.framework)}{t.tactic && ' · ' + plain(t.tactic).replaceAll('-', ' ')}</div>
        </li>
      ))}
    </ul>
  );
}

const kinds = ['model', 'workload', 'container', 'process', 'address', 'user', 'host'];

/** field is the event field that holds an entity's name or id, for a hunt. */
const field: Record<string, (e: Entity) => [string, string]> = {
  model: (e) => ['ai.model.name', e.name],
  workload: (e) => ['ai.workload.name', e.name],
  container: (e) => ['container.id', bare(e)],
  process: (e) => ['process.uid', e.id],
  address: (e) => ['net.remote.ip', bare(e)],
  user: (e) => ['process.user', e.name],
  host: (e) => ['host', e.name],
};

/** bare takes the scope off an id such as host/id. */
const bare = (e: Entity) => e.id.slice(e.id.lastIndexOf('/') + 1);

export function Entities({ entities }: { entities: Entity[] }) {
  const rank = (e: Entity) => (kinds.indexOf(e.kind) + kinds.length + 1) % (kinds.length + 1);
  const sorted = [...entities].sort((a, b) => rank(a) - rank(b));
  return (
    <ul className="plain entities" data-testid="entities">
      {sorted.map((e) => {
        const [name, value] = field[e.kind]?.(e) ?? ['', e.id];
        const q = (name ? name + ':' : '') + JSON.stringify(value);
        return (
          <li key={e.kind + e.id}>
            <span className="kind">{plain(e.kind)}</span>
            <span className="what"><Value text={e.name || e.id} mono max={80} /></span>
            <Link to={`/events?${new URLSearchParams({ q, range: '24h' })}`} aria-label={`hunt for events of ${plain(e.kind)} ${plain(e.name)}`} className="hunt">hunt</Link>
          </li>
        );
      })}
    </ul>
  );
}
