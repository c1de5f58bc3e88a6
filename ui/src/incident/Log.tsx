import type { Change } from '../api/types';
import { Ago } from '../shared/Time';
import { Value } from '../shared/Value';

/** Log says who changed what, the latest first. */
export function Log({ log }: { log: Change[] }) {
  if (log.length === 0) return <p className="quiet">Nobody has changed anything.</p>;
  return (
    <ul className="plain">
      {[...log].reverse().map((c, n) => (
        <li key={n}>
          <b><Value text={c.who} max={40} /></b> <Value text={c.what} max={200} /> <span className="quiet small"><Ago at={c.time} suffix=" ago" /></span>
          {c.note && <blockquote><Value text={c.note} max={400} /></blockquote>}
        </li>
      ))}
    </ul>
  );
}
