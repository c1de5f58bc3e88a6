import { Table } from '@mantine/core';
import { Link } from 'react-router';
import type { Incident } from '../api/types';
import { Risk, Severity, StatusTag } from '../shared/Severity';
import { TechniqueID } from '../shared/Technique';
import { Ago } from '../shared/Time';
import { Value } from '../shared/Value';
import { plain } from '../shared/visible';

/** IncidentTable has a row an incident. */
export function IncidentTable({ items }: { items: Incident[] }) {
  return (
    <Table.ScrollContainer minWidth={280} className="card">
      <Table className="queue" highlightOnHover stickyHeader>
        <Table.Thead>
          <Table.Tr>
            <Table.Th w={104}>Severity</Table.Th><Table.Th>Incident</Table.Th><Table.Th w={60} visibleFrom="sm">Risk</Table.Th><Table.Th w={130} visibleFrom="sm">Status</Table.Th>
            <Table.Th w={150} visibleFrom="md">Hosts</Table.Th><Table.Th w={215} visibleFrom="lg">Techniques</Table.Th><Table.Th w={90} visibleFrom="sm">Last seen</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>{items.map((i) => <Row key={i.id} i={i} />)}</Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

const most = 3;

function Row({ i }: { i: Incident }) {
  return (
    <Table.Tr className={'edge ' + i.severity}>
      <Table.Td><Severity level={i.severity} /></Table.Td>
      <Table.Td>
        <Link to={'/incidents/' + encodeURIComponent(i.id)} className="rowlink" data-row><Value text={i.title} max={160} /></Link>
        <div className="quiet line" title={plain(i.summary)}>{plain(i.summary)}</div>
      </Table.Td>
      <Table.Td visibleFrom="sm"><Risk value={i.risk} /></Table.Td>
      <Table.Td visibleFrom="sm"><StatusTag status={i.status} verdict={i.verdict} /></Table.Td>
      <Table.Td visibleFrom="md"><div className="line mono" title={i.hosts.map(plain).join(', ')}>{i.hosts.slice(0, 2).map(plain).join(', ')}{i.hosts.length > 2 && ` +${i.hosts.length - 2}`}</div></Table.Td>
      <Table.Td visibleFrom="lg">
        <span className="tags">
          {i.techniques.slice(0, most).map((t) => <TechniqueID key={t.id + t.tactic} t={t} />)}
          {i.techniques.length > most && <span className="quiet">+{i.techniques.length - most}</span>}
        </span>
      </Table.Td>
      <Table.Td visibleFrom="sm"><Ago at={i.last_seen} suffix=" ago" /></Table.Td>
    </Table.Tr>
  );
}
