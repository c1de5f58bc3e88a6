import { Alert, Button, Group, Skeleton, Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { Problem } from '../api/client';

/** Empty says that there is nothing, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Stack className="empty" align="center" gap={6} role="status">
      <Text fw={600}>{title}</Text>
      <Text size="sm" className="quiet" component="div" ta="center">{children}</Text>
    </Stack>
  );
}

/** Failure says what went wrong and offers another try. */
export function Failure({ error, retry, what }: { error: unknown; retry?: () => void; what: string }) {
  const text = error instanceof Error ? error.message : String(error);
  const status = error instanceof Problem && error.status ? ` (${error.status})` : '';
  return (
    <Alert color="red" variant="light" title={`${what} failed${status}`} role="alert">
      <Group justify="space-between" align="end">
        <Text size="sm" style={{ overflowWrap: 'anywhere', flex: 1 }}>{text}</Text>
        {retry && <Button size="xs" variant="default" onClick={retry}>Try again</Button>}
      </Group>
    </Alert>
  );
}

/** Loading stands where rows will be. */
export function Loading({ rows = 6 }: { rows?: number }) {
  return (
    <Stack gap={8} role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => <Skeleton key={i} height={26} radius="sm" />)}
    </Stack>
  );
}
