import { Text, Title } from '@mantine/core';
import { Link, useParams } from 'react-router';
import { usePlaybook } from '../api/respond';
import type { Role } from '../api/types';
import { Markdown } from '../shared/Markdown';
import { Failure, Loading } from '../shared/States';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';
import { FlowGraph } from './FlowGraph';
import { Simulate } from './Simulate';

/** PlaybookPage shows a playbook: its steps as a graph, its runbook, and what it would have done. */
export default function PlaybookPage({ role }: { role: Role }) {
  const { name = '' } = useParams();
  const book = usePlaybook(name);
  const b = book.data;
  return (
    <>
      <Text size="sm" mb={4}><Link to="/playbooks" className="back">← Playbooks</Link></Text>
      {book.isError && <Failure what="Reading the playbook" error={book.error} retry={() => void book.refetch()} />}
      {book.isPending && <Loading />}
      {b && (
        <article aria-labelledby="title">
          <Title order={1} id="title"><Value text={b.title} max={200} /></Title>
          <p className="lead"><Value text={b.description ?? ''} max={800} /></p>
          <p className="quiet small">{plain(b.name)}, of {plain(b.version)}, SHA-256 <span className="mono">{plain(b.hash)}</span></p>
          <section className="card section" aria-label="Steps"><Title order={2}>Steps</Title><FlowGraph body={b.body} /></section>
          <section className="card section" aria-label="Runbook"><Title order={2}>Runbook</Title>
            {b.runbook ? <Markdown text={b.runbook} /> : <p className="quiet">It has none: <code>{plain(b.name)}.md</code> beside it would be one.</p>}</section>
          {role !== 'viewer' && <section className="card section" aria-label="Simulation"><Title order={2}>Simulation</Title><Simulate playbook={b.name} /></section>}
        </article>
      )}
    </>
  );
}
