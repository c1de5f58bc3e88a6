import { Button, Checkbox, Title } from '@mantine/core';
import { useSearchParams } from 'react-router';
import { useChangeIncident } from '../api/queries';
import type { Incident, Playbook, Role } from '../api/types';
import { Markdown } from '../shared/Markdown';
import { Failure } from '../shared/States';

/** known gives the names in a runbook the incident's values, which may be an attacker's words. */
export function known(i: Incident): Record<string, string> {
  const first = (kind: string) => i.entities.find((e) => e.kind === kind)?.name ?? '';
  return {
    ID: i.id, __incident_id__: i.id, __incident_title__: i.title, __incident_summary__: i.summary, __incident_severity__: i.severity,
    __host__: i.hosts[0] ?? '', __workload__: first('workload'), __model__: first('model'), __address__: first('address'),
  };
}

/** Runbook is what a person does, with the incident's values, as a list to tick. It needs no automation. What is ticked is in the address. */
export function Runbook({ book, incident, role }: { book: Playbook; incident: Incident; role: Role }) {
  const [params, setParams] = useSearchParams();
  const change = useChangeIncident(incident.id);
  const done = new Set((params.get('done') ?? '').split('.').filter(Boolean).map(Number));
  const tick = (n: number) => setParams((p) => {
    if (!done.delete(n)) done.add(n);
    const text = [...done].sort((a, b) => a - b).join('.');
    if (text) p.set('done', text);
    else p.delete('done');
    return p;
  }, { replace: true });
  const note = () => change.mutate({ note: `Runbook ${book.name}: done by hand: ${[...done].sort((a, b) => a - b).map((n) => n + 1).join(', ')}` });
  return (
    <div className="runbook" data-testid="runbook">
      <Title order={3}>Runbook</Title>
      {!book.runbook && <p className="quiet">This playbook has none.</p>}
      {book.runbook && <Markdown text={book.runbook} values={known(incident)} item={(n, children) => (
        <Checkbox size="xs" checked={done.has(n)} onChange={() => tick(n)} label={<div className={done.has(n) ? 'ticked' : ''}>{children}</div>} />
      )} />}
      {role !== 'viewer' && done.size > 0 && <Button size="xs" variant="default" loading={change.isPending} onClick={note}>Write into the log what is done</Button>}
      {change.isSuccess && <p className="quiet small" role="status">It stands in the incident's log.</p>}
      {change.isError && <Failure what="The note" error={change.error} />}
    </div>
  );
}
