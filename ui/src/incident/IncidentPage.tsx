import { Group, Text, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link, useNavigate, useParams } from 'react-router';
import { useIncident } from '../api/queries';
import type { Incident, Role } from '../api/types';
import { useKeys } from '../shared/keys';
import { Risk, Severity, StatusTag } from '../shared/Severity';
import { Failure, Loading } from '../shared/States';
import { Ago } from '../shared/Time';
import { span } from '../shared/time';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';
import { Actions } from './Actions';
import { Evidence } from './Evidence';
import { Log } from './Log';
import { Processes } from './Processes';
import { Respond } from './Respond';
import { Entities, Techniques } from './Side';
import { Story } from './Story';

/** IncidentPage tells one incident from its story down to its events. */
export default function IncidentPage({ role }: { role: Role }) {
  const { id = '' } = useParams();
  const incident = useIncident(id);
  const go = useNavigate();
  useKeys({ u: () => go('/incidents') });
  return (
    <>
      <Text size="sm" mb={4}><Link to="/incidents" className="back">← Incidents</Link></Text>
      {incident.isError && <Failure what="Reading the incident" error={incident.error} retry={() => void incident.refetch()} />}
      {incident.isPending && <Loading />}
      {incident.data && <Whole i={incident.data} role={role} />}
    </>
  );
}

function Whole({ i, role }: { i: Incident; role: Role }) {
  return (
    <article aria-labelledby="title">
      <header className={'head edge ' + i.severity}>
        <div className="grow">
          <Title order={1} id="title"><Value text={i.title} max={300} /></Title>
          <Group gap="md" mt={6} className="meta">
            <Severity level={i.severity} />
            <span>risk <Risk value={i.risk} /></span>
            <StatusTag status={i.status} verdict={i.verdict} />
            <span className="quiet">first <Ago at={i.first_seen} suffix=" ago" />, over {span(Date.parse(i.last_seen) - Date.parse(i.first_seen))}</span>
            <span className="quiet">on <span className="mono">{i.hosts.map(plain).join(', ')}</span></span>
          </Group>
        </div>
        <Actions incident={i} role={role} />
      </header>
      <p className="lead" data-testid="story"><Value text={i.summary} max={1000} /></p>
      <div className="columns">
        <div>
          <Section title="What happened"><Story story={i.story} /></Section>
          <Section title="Response"><Respond incident={i} role={role} /></Section>
          <Section title="Processes"><Processes incident={i} /></Section>
          <Section title={`Evidence (${i.finding_count} ${i.finding_count === 1 ? 'finding' : 'findings'})`}><Evidence incident={i.id} /></Section>
        </div>
        <aside aria-label="About this incident">
          <Section title="Techniques"><Techniques techniques={i.techniques} /></Section>
          <Section title="Who and what">
            {(i.tags ?? []).length > 0 && <p data-testid="tags">{i.tags?.map((t) => <span key={t} className="note">{plain(t)}</span>)}</p>}
            <Entities entities={i.entities} />
          </Section>
          <Section title="Log"><Log log={i.log} /></Section>
        </aside>
      </div>
    </article>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="card section" aria-label={title}>
      <Title order={2}>{title}</Title>
      {children}
    </section>
  );
}
