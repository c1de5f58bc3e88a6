import { Title } from '@mantine/core';
import { Link } from 'react-router';
import { usePlaybooks } from '../api/respond';
import { step, useKeys } from '../shared/keys';
import { Empty, Failure, Loading } from '../shared/States';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';

/** PlaybooksPage lists what incidents can be answered with. */
export function PlaybooksPage() {
  const books = usePlaybooks();
  const items = books.data?.items ?? [];
  useKeys({ j: () => step(1), k: () => step(-1) });
  return (
    <>
      <Title order={1} mb="sm">Playbooks</Title>
      {books.isError && <Failure what="Reading playbooks" error={books.error} retry={() => void books.refetch()} />}
      {books.isPending && <Loading rows={3} />}
      {books.isSuccess && items.length === 0 && <Empty title="There is no playbook">Built-in ones are missing and <code>respond.playbooks</code> names none: see the server's log.</Empty>}
      {items.length > 0 && (
        <div className="card scroll" tabIndex={0} role="region" aria-label="Playbooks">
          <table className="grid wide">
            <thead><tr><th>Name</th><th>What it does</th><th>Activities</th><th>Version</th></tr></thead>
            <tbody>
              {items.map((b) => (
                <tr key={b.id}>
                  <td className="mono">{plain(b.name)}</td>
                  <td><Link to={'/playbooks/' + encodeURIComponent(b.name)} className="rowlink" data-row><Value text={b.title} max={160} /></Link>{b.description && <div className="quiet small"><Value text={b.description} max={300} /></div>}</td>
                  <td>{b.activities.map(plain).join(', ')}</td>
                  <td className="mono num" title={'SHA-256 ' + b.hash}>{plain(b.version.slice(0, 10))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}
