import { Button, Group, Stack, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useChangeRun } from '../api/respond';
import type { Ask, Run } from '../api/types';
import { Failure } from '../shared/States';
import { Ago, Until } from '../shared/Time';
import { Value } from '../shared/Value';

const words: Record<Ask['what'], [string, string]> = { decide: ['Yes', 'No'], do: ['It is done', 'It was not done'], holds: ['It was done and holds', 'It does not hold'] };

/** Asks are the questions of a run that wait for a person. */
export function Asks({ run, may }: { run: Run; may: boolean }) {
  return <Stack gap="sm">{run.asks.map((a) => <One key={a.task} run={run.id} ask={a} may={may} />)}</Stack>;
}

function One({ run, ask, may }: { run: string; ask: Ask; may: boolean }) {
  const change = useChangeRun(run);
  const [text, setText] = useState('');
  const [values, setValues] = useState<Record<string, string>>({});
  const [yes, no] = words[ask.what];
  const send = (is: boolean) => change.mutate({ what: 'answer', body: { task: ask.task, yes: is, text: text.trim() || undefined, values: Object.keys(values).length ? values : undefined } });
  return (
    <div className="ask" role="group" aria-label="A question of the run">
      <p className="lines"><b><Value text={ask.text} max={1500} /></b></p>
      <p className="quiet small">Asked <Ago at={ask.since} suffix=" ago" />{ask.until && <>; without an answer its step fails <Until at={ask.until} /></>}.</p>
      {!may && <p className="quiet small">Your role, viewer, only reads: an analyst answers.</p>}
      {may && (
        <Stack gap={6}>
          {(ask.assign ?? []).map((name) => <TextInput key={name} size="xs" label={`Value for ${name}`} maxLength={1000} value={values[name] ?? ''} onChange={(e) => { const v = e.currentTarget.value; setValues((old) => ({ ...old, [name]: v })); }} />)}
          <TextInput size="xs" label="Why, or what you saw" maxLength={1000} value={text} onChange={(e) => setText(e.currentTarget.value)} />
          <Group gap={6}>
            <Button size="xs" loading={change.isPending} onClick={() => send(true)}>{yes}</Button>
            <Button size="xs" variant="default" loading={change.isPending} onClick={() => send(false)}>{no}</Button>
          </Group>
          {change.isError && <Failure what="The answer" error={change.error} />}
        </Stack>
      )}
    </div>
  );
}
