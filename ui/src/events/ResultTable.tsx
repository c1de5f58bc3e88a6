import type { EventRow } from '../api/types';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';

/** ResultTable shows rows that are no events, such as those of a stats pipe: a column a field. */
export function ResultTable({ rows }: { rows: EventRow[] }) {
  const names = [...new Set(rows.flatMap((r) => Object.keys(r)))];
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label="Results">
      <table className="grid wide">
        <thead><tr>{names.map((n) => <th key={n}>{plain(n)}</th>)}</tr></thead>
        <tbody>{rows.map((r, i) => <tr key={i}>{names.map((n) => <td key={n}><Value text={r[n] ?? ''} mono max={200} /></td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}
