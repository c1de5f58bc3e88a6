import { Code, Drawer, Table, TextInput, Title } from '@mantine/core';
import { useState } from 'react';
import { useFields } from '../api/queries';

const basics: [string, string][] = [
  ['weights', 'the word stands in what happened'],
  ['process.name:curl', 'it stands in that field'],
  ['process.cmdline:"nc -l"', 'words in this order'],
  ['host:="gpu-1"', 'the field is exactly this'],
  ['file.path:mod*', 'a word of the field begins so'],
  ['process.cmdline:~"base64|xxd"', 'regular expression'],
  ['net.bytes_out:>1000000', 'numbers'],
  ['a b    a or b    !a', 'both, one of them, not'],
  ['class:net | stats by (process.name) count()', 'counted'],
];

/** QueryHelp tells how to write a query and which fields there are. */
export function QueryHelp({ opened, close }: { opened: boolean; close: () => void }) {
  const fields = useFields();
  const [text, setText] = useState('');
  const shown = (fields.data ?? []).filter((f) => (f.name + ' ' + (f.sigma ?? '') + ' ' + f.doc).toLowerCase().includes(text.toLowerCase()));
  return (
    <Drawer opened={opened} onClose={close} position="right" size="lg" title="Writing a query" closeButtonProps={{ 'aria-label': 'Close' }}>
      <Table verticalSpacing={4} mb="lg">
        <Table.Tbody>{basics.map(([q, what]) => <Table.Tr key={q}><Table.Td><Code>{q}</Code></Table.Td><Table.Td>{what}</Table.Td></Table.Tr>)}</Table.Tbody>
      </Table>
      <Title order={2} mb="xs">Fields</Title>
      <TextInput size="xs" mb="xs" aria-label="Find a field" placeholder="find a field, by name or meaning" value={text} onChange={(e) => setText(e.currentTarget.value)} />
      <Table verticalSpacing={4}>
        <Table.Thead><Table.Tr><Table.Th>Field</Table.Th><Table.Th>Meaning</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>
          {shown.map((f) => (
            <Table.Tr key={f.name}>
              <Table.Td className="mono">{f.name}{f.sigma && <div className="quiet small">Sigma: {f.sigma}</div>}</Table.Td>
              <Table.Td>{f.doc} <span className="quiet small">({f.type})</span></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Drawer>
  );
}
