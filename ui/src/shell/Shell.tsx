import { ActionIcon, AppShell, Button, Group, Stack, Text, Tooltip, useMantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import type { ReactNode } from 'react';
import { NavLink, useNavigate } from 'react-router';
import { useLive } from '../api/live';
import { useHealth, useSignOut } from '../api/queries';
import { useOpenRuns } from '../api/respond';
import type { StreamState } from '../api/stream';
import type { Session } from '../api/types';
import { useKeys } from '../shared/keys';
import { plain } from '../shared/visible';
import { PasswordOffer } from '../signin/PasswordOffer';
import { Help } from './Help';
import { icons } from './icons';

const pages = [
  { to: '/incidents', label: 'Incidents', icon: icons.incidents },
  { to: '/approvals', label: 'Approvals', icon: icons.approvals },
  { to: '/playbooks', label: 'Playbooks', icon: icons.playbooks },
  { to: '/events', label: 'Events', icon: icons.events },
  { to: '/inventory', label: 'Inventory', icon: icons.inventory },
  { to: '/gpus', label: 'GPUs', icon: icons.gpus },
  { to: '/fleet', label: 'Fleet', icon: icons.fleet },
  { to: '/rules', label: 'Rules', icon: icons.rules },
  { to: '/threats', label: 'Threats', icon: icons.threats },
];

const streamWords: Record<StreamState, string> = { connecting: 'connecting', live: 'live', away: 'reconnecting' };

function Theme() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const next = { auto: 'light', light: 'dark', dark: 'auto' } as const;
  return (
    <Tooltip label={`Colours: ${colorScheme === 'auto' ? 'as the system' : colorScheme}`}>
      <ActionIcon variant="subtle" color="gray" onClick={() => setColorScheme(next[colorScheme])} aria-label={`Colours: ${colorScheme}. Change to ${next[colorScheme]}`}>
        {icons[colorScheme]}
      </ActionIcon>
    </Tooltip>
  );
}

function Footer({ session, stream, onHelp }: { session: Session; stream: StreamState; onHelp: () => void }) {
  const signOut = useSignOut();
  return (
    <Stack gap={8} className="foot">
      <span className={'stream ' + stream} role="status"><span className="mark" aria-hidden="true" /><span className="wide">{streamWords[stream]}</span></span>
      <Group gap={4}>
        <Theme />
        <Tooltip label="Keys"><ActionIcon variant="subtle" color="gray" onClick={onHelp} aria-label="Show the keys">{icons.help}</ActionIcon></Tooltip>
      </Group>
      <div className="wide">
        <Text size="sm" fw={600} truncate title={plain(session.user)}>{plain(session.user)}</Text>
        <Group gap={8} justify="space-between">
          <Text size="xs" className="quiet">{session.role}</Text>
          <Button size="compact-xs" variant="subtle" color="gray" onClick={() => signOut.mutate()}>Sign out</Button>
        </Group>
      </div>
    </Stack>
  );
}

/** Shell is what stands around every page: navigation, the state of the stream, and who is signed in. */
export function Shell({ session, children }: { session: Session; children: ReactNode }) {
  const stream = useLive();
  const health = useHealth();
  const go = useNavigate();
  const [help, show] = useDisclosure();
  useKeys({ '?': show.open, 'g i': () => go('/incidents'), 'g e': () => go('/events'), 'g n': () => go('/inventory'), 'g f': () => go('/fleet'), 'g r': () => go('/rules'), 'g a': () => go('/approvals'), 'g p': () => go('/playbooks'), 'g u': () => go('/gpus'), 'g t': () => go('/threats') });
  const open = useOpenRuns();
  const waiting = (open.data?.items ?? []).filter((r) => r.state === 'waiting' || r.asks.length > 0).length;
  const unwell = health.data && health.data.status !== 'ok' ? health.data.status : '';
  return (
    <AppShell navbar={{ width: { base: 60, md: 184 }, breakpoint: 0 }} padding={{ base: 'sm', md: 'lg' }}>
      <a className="skip" href="#content">Skip to content</a>
      <AppShell.Navbar className="nav" aria-label="Pages">
        <div className="brand">{icons.logo}<span className="wide">Picket</span></div>
        <ul>
          {pages.map((p) => (
            <li key={p.to}>
              <NavLink to={p.to} title={p.label}>
                {p.icon}<span className="wide">{p.label}</span>
                {p.to === '/approvals' && waiting > 0 && <span className="badge asks" title={`${waiting} wait for somebody`}>{waiting}</span>}
                {p.to === '/fleet' && unwell && <span className={'badge ' + unwell} title={'Picket is ' + unwell}>{unwell}</span>}
              </NavLink>
            </li>
          ))}
        </ul>
        <Footer session={session} stream={stream} onHelp={show.open} />
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        {session.password_set === false && <PasswordOffer />}
        {children}
      </AppShell.Main>
      <Help opened={help} close={show.close} />
    </AppShell>
  );
}
