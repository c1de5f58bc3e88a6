import { Button, Combobox, Group, Loader, Text, TextInput, useCombobox } from '@mantine/core';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import { useFields } from '../api/queries';
import { useKeys } from '../shared/keys';
import { suggest } from './query';

interface Props { q: string; run: (q: string) => void; busy: boolean; help: () => void }

/** QueryBox takes a LogsQL query and completes the names of fields. */
export function QueryBox({ q, run, busy, help }: Props) {
  const fields = useFields();
  const box = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(q);
  const [caret, setCaret] = useState(q.length);
  useEffect(() => setText(q), [q]);
  useKeys({ '/': () => box.current?.focus() });
  const combobox = useCombobox({ onDropdownClose: () => combobox.resetSelectedOption() });
  const found = suggest(text, caret, fields.data ?? []);
  const type = (value: string, at: number) => {
    setText(value);
    setCaret(at);
    combobox.openDropdown();
    combobox.resetSelectedOption();
  };
  const take = (name: string) => {
    const value = text.slice(0, found.from) + name + ':' + text.slice(caret);
    const at = found.from + name.length + 1;
    setText(value);
    setCaret(at);
    combobox.closeDropdown();
    requestAnimationFrame(() => {
      box.current?.focus();
      box.current?.setSelectionRange(at, at);
    });
  };
  const submit = (e: FormEvent) => {
    e.preventDefault();
    combobox.closeDropdown();
    run(text.trim());
  };
  return (
    <form onSubmit={submit} role="search" className="grow">
      <Group gap="xs" wrap="nowrap">
        <Combobox store={combobox} onOptionSubmit={take} position="bottom-start" middlewares={{ flip: false }}>
          <Combobox.Target>
            <TextInput ref={box} className="grow mono" size="sm" aria-label="Query, LogsQL" placeholder="weights   ·   process.name:curl class:net   ( / )"
              spellCheck={false} autoComplete="off" value={text} rightSection={busy && <Loader size={14} aria-label="Searching" />}
              onChange={(e) => type(e.currentTarget.value, e.currentTarget.selectionStart ?? e.currentTarget.value.length)}
              onBlur={() => combobox.closeDropdown()} onKeyDown={(e) => e.key === 'Escape' && combobox.closeDropdown()} />
          </Combobox.Target>
          <Combobox.Dropdown hidden={found.fields.length === 0}>
            <Combobox.Options aria-label="Fields">
              {found.fields.map((f) => (
                <Combobox.Option key={f.name} value={f.name}>
                  <span className="mono">{f.name}</span> <Text span size="xs" className="quiet">{f.doc}{f.sigma && ` · Sigma: ${f.sigma}`}</Text>
                </Combobox.Option>
              ))}
            </Combobox.Options>
          </Combobox.Dropdown>
        </Combobox>
        {/* A button that loads is disabled, and a form whose button is disabled takes no Enter. */}
        <Button type="submit" size="sm">Search</Button>
        <Button size="sm" variant="default" onClick={help}>Help</Button>
      </Group>
    </form>
  );
}
