import type { Passage } from '../api/types';
import { Severity } from '../shared/Severity';
import { Clock } from '../shared/Time';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';

/** Story lists the passages in time's order; each leads to its finding. */
export function Story({ story }: { story: Passage[] }) {
  if (story.length === 0) return <p className="quiet">There is no story yet.</p>;
  return (
    <ol className="story" data-testid="timeline">
      {story.map((p, n) => (
        <li key={n} className={p.severity}>
          <span className="when"><Clock at={p.time} /></span>
          <div>
            <Value text={p.text} max={500} />
            <div className="under">
              <Severity level={p.severity} />
              {p.tactic && <span className="note">{plain(p.tactic).replaceAll('-', ' ')}</span>}
              {p.finding && <a href={'#finding-' + encodeURIComponent(p.finding)}>evidence</a>}
            </div>
          </div>
        </li>
      ))}
    </ol>
  );
}
