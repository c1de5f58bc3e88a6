import { useState } from 'react';
import type { EventRow } from '../api/types';
import { Clock } from './Time';
import { Value } from './Value';
import { plain } from './visible';

interface Props {
  rows: EventRow[];
  note?: string;
  /** filter is called with a field and its value, to search for (true) or leave out (false). */
  filter?: (field: string, value: string, wanted: boolean) => void;
}

/** EventTable has a row an event; a row opens to show all its fields. */
export function EventTable({ rows, note, filter }: Props) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const toggle = (key: string) => setOpen((old) => {
    const now = new Set(old);
    if (!now.delete(key)) now.add(key);
    return now;
  });
  if (rows.length === 0) return null;
  return (
    <div className="events" tabIndex={0} role="region" aria-label="Events">
      <table>
        <thead><tr><th className="t">Time</th><th className="k">Kind</th><th className="h">Host</th><th>What</th></tr></thead>
        <tbody>
          {rows.map((r, n) => {
            const key = r['event.id'] ? r['event.id'] + r._time : String(n);
            return <Row key={key + n} r={r} opened={open.has(key)} toggle={() => toggle(key)} filter={filter} />;
          })}
        </tbody>
      </table>
      {note && <p className="quiet small">{note}</p>}
    </div>
  );
}

interface RowProps { r: EventRow; opened: boolean; toggle: () => void; filter: Props['filter'] }

function Row({ r, opened, toggle, filter }: RowProps) {
  const message = r._msg ?? '';
  return (
    <>
      <tr className={opened ? 'opened' : ''} onClick={(e) => !(e.target as Element).closest('button, a') && !getSelection()?.toString() && toggle()}>
        <td className="t"><button type="button" className="open" aria-expanded={opened} aria-label={`Fields of: ${plain(message).slice(0, 80)}`} onClick={toggle} data-row>{opened ? '▾' : '▸'}</button><Clock at={r._time ?? ''} /></td>
        <td className="k">{plain(r['event.kind'] ?? '')}</td>
        <td className="h mono">{plain(r.host ?? '')}</td>
        <td className="mono"><Value text={message || plain(JSON.stringify(r))} max={220} /></td>
      </tr>
      {opened && <tr className="fields"><td colSpan={4}><Fields r={r} filter={filter} /></td></tr>}
    </>
  );
}

const hiddenFields = new Set(['_stream', '_stream_id']);

function Fields({ r, filter }: { r: EventRow; filter: Props['filter'] }) {
  const names = Object.keys(r).filter((k) => !hiddenFields.has(k)).sort();
  return (
    <dl className="facts">
      {names.map((k) => (
        <div key={k}>
          <dt className="mono">{plain(k)}</dt>
          <dd>
            <Value text={r[k] ?? ''} mono max={300} />
            {filter && k !== '_time' && (
              <span className="pick">
                <button type="button" title="Only these" aria-label={`Only events with this ${plain(k)}`} onClick={() => filter(k, r[k] ?? '', true)}>+</button>
                <button type="button" title="Not these" aria-label={`No events with this ${plain(k)}`} onClick={() => filter(k, r[k] ?? '', false)}>−</button>
              </span>
            )}
          </dd>
        </div>
      ))}
    </dl>
  );
}
