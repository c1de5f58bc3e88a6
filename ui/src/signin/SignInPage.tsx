import { Alert, Box, Button, Code, Paper, PasswordInput, Stack, Text, TextInput, Title } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useSignIn } from '../api/queries';
import { Failure } from '../shared/States';
import { icons } from '../shell/icons';

/** SignInPage takes a user and a password, and tells of the one-time link. */
export function SignInPage() {
  const signIn = useSignIn();
  const [user, setUser] = useState('');
  const [password, setPassword] = useState('');
  const expired = new URLSearchParams(location.search).get('signin') === 'expired';
  const submit = (e: FormEvent) => {
    e.preventDefault();
    signIn.mutate({ user, password });
  };
  return (
    <Box component="main" className="signin">
      <Stack gap="md" w={360} maw="100%">
        <div className="brand">{icons.logo}<Title order={1}>Sign in to Picket</Title></div>
        {expired && <Alert color="yellow" title="This link does not work any more" role="alert">It works once, for a short time. Make another: <Code>picket signin</Code></Alert>}
        {signIn.isError && <Failure what="Signing in" error={signIn.error} />}
        <Paper withBorder p="lg" component="form" onSubmit={submit}>
          <Stack gap="sm">
            <TextInput label="User" name="user" autoComplete="username" required value={user} onChange={(e) => setUser(e.currentTarget.value)} autoFocus />
            <PasswordInput label="Password" name="password" autoComplete="current-password" required value={password} onChange={(e) => setPassword(e.currentTarget.value)} />
            <Button type="submit" loading={signIn.isPending}>Sign in</Button>
          </Stack>
        </Paper>
        <Text size="sm" className="quiet">
          The first time, open the one-time link that <Code>picket run</Code> prints when it starts.
          On the machine itself, <Code>picket signin</Code> makes another.
        </Text>
      </Stack>
    </Box>
  );
}
