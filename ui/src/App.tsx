import { Box } from '@mantine/core';
import { Suspense, lazy } from 'react';
import { Navigate, Route, Routes } from 'react-router';
import { useSession } from './api/queries';
import { ApprovalsPage } from './approvals/ApprovalsPage';
import { FleetPage } from './fleet/FleetPage';
import { IncidentsPage } from './incidents/IncidentsPage';
import { InventoryPage } from './inventory/InventoryPage';
import { PlaybooksPage } from './playbooks/PlaybooksPage';
import { RulesPage } from './rules/RulesPage';
import { Empty, Failure, Loading } from './shared/States';
import { Shell } from './shell/Shell';
import { SignInPage } from './signin/SignInPage';
import { ThreatsPage } from './threats/ThreatsPage';

const IncidentPage = lazy(() => import('./incident/IncidentPage'));
const EventsPage = lazy(() => import('./events/EventsPage'));
const RunPage = lazy(() => import('./runs/RunPage'));
const PlaybookPage = lazy(() => import('./playbooks/PlaybookPage'));
const GPUsPage = lazy(() => import('./gpus/GPUsPage'));

export function App() {
  const session = useSession();
  if (session.isPending) return <Box p="xl" maw={600} mx="auto"><Loading rows={3} /></Box>;
  if (session.isError && !session.data) {
    return <Box p="xl" maw={600} mx="auto" component="main"><Failure what="Reading the session" error={session.error} retry={() => void session.refetch()} /></Box>;
  }
  if (!session.data) return <SignInPage />;
  return (
    <Shell session={session.data}>
      <Suspense fallback={<Loading />}>
        <Routes>
          <Route path="/" element={<Navigate to="/incidents" replace />} />
          <Route path="/incidents" element={<IncidentsPage />} />
          <Route path="/incidents/:id" element={<IncidentPage role={session.data.role} />} />
          <Route path="/approvals" element={<ApprovalsPage role={session.data.role} />} />
          <Route path="/runs/:id" element={<RunPage session={session.data} />} />
          <Route path="/playbooks" element={<PlaybooksPage />} />
          <Route path="/playbooks/:name" element={<PlaybookPage role={session.data.role} />} />
          <Route path="/events" element={<EventsPage />} />
          <Route path="/inventory" element={<InventoryPage />} />
          <Route path="/gpus" element={<GPUsPage />} />
          <Route path="/fleet" element={<FleetPage />} />
          <Route path="/rules" element={<RulesPage />} />
          <Route path="/threats" element={<ThreatsPage />} />
          <Route path="*" element={<Empty title="There is no such page">Choose one on the left.</Empty>} />
        </Routes>
      </Suspense>
    </Shell>
  );
}
