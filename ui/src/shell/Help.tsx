import { Kbd, Modal, Table } from '@mantine/core';

const keys: [string, string][] = [
  ['j  k', 'next, previous row'],
  ['Enter', 'open the row'],
  ['/', 'search'],
  ['a', 'acknowledge the incident'],
  ['c', 'close the incident'],
  ['u', 'back to the queue'],
  ['g i', 'go to incidents'],
  ['g e', 'go to events'],
  ['g n', 'go to the inventory'],
  ['g a', 'go to approvals'],
  ['g p', 'go to playbooks'],
  ['g u', 'go to GPUs'],
  ['g f', 'go to the fleet'],
  ['g r', 'go to rules'],
  ['g t', 'go to threats'],
  ['?', 'this list'],
];

/** Help lists the keys. */
export function Help({ opened, close }: { opened: boolean; close: () => void }) {
  return (
    <Modal opened={opened} onClose={close} title="Keys" size="sm" closeButtonProps={{ 'aria-label': 'Close' }}>
      <Table withRowBorders={false} verticalSpacing={4}>
        <Table.Tbody>
          {keys.map(([k, what]) => (
            <Table.Tr key={k}>
              <Table.Td w={90}>{k.split(/ +/).map((x) => <Kbd key={x} mr={4}>{x}</Kbd>)}</Table.Td>
              <Table.Td>{what}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Modal>
  );
}
