import { Alert, Button, Group, PasswordInput, Text } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useSetPassword } from '../api/queries';
import { Failure } from '../shared/States';

const shortest = 10;

/** PasswordOffer lets a user who came by a one-time link set a password for the next time. */
export function PasswordOffer() {
  const set = useSetPassword();
  const [password, setPassword] = useState('');
  const [later, setLater] = useState(sessionStorage.getItem('password-later') === '1');
  if (later) return null;
  const submit = (e: FormEvent) => {
    e.preventDefault();
    set.mutate(password);
  };
  const wait = () => {
    sessionStorage.setItem('password-later', '1');
    setLater(true);
  };
  return (
    <Alert variant="default" mb="md" py="xs">
      <Group component="form" gap="sm" onSubmit={(e: unknown) => submit(e as FormEvent)}>
        <Text size="sm">You came by a one-time link. Set a password for the next time:</Text>
        <PasswordInput size="xs" w={220} aria-label="New password" placeholder={`at least ${shortest} characters`} autoComplete="new-password" minLength={shortest} required value={password} onChange={(e) => setPassword(e.currentTarget.value)} />
        <Button type="submit" size="xs" loading={set.isPending}>Set</Button>
        <Button size="xs" variant="subtle" onClick={wait}>Later</Button>
      </Group>
      {set.isError && <Failure what="Setting the password" error={set.error} />}
    </Alert>
  );
}
