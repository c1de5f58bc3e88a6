// The API's JSON, as package event and package api write it.

export type Severity = 'informational' | 'low' | 'medium' | 'high' | 'critical';
export type Status = 'open' | 'acknowledged' | 'closed';
export type Verdict = 'true_positive' | 'false_positive';
export type Role = 'viewer' | 'analyst' | 'responder' | 'admin';

export interface Session { user: string; role: Role; csrf?: string; password_set?: boolean }
export interface Page<T> { items: T[]; next?: string }
export interface Technique { framework: string; id: string; name?: string; tactic?: string }
export interface Entity { kind: string; id: string; name: string }

export interface ProcessNode {
  uid: string; parent_uid?: string; pid: number; start: string; name: string; exe: string; cmdline: string;
  user?: string; container?: string; drift?: boolean;
}

export interface Passage { time: string; text: string; finding: string; severity: Severity; tactic?: string }
export interface Change { time: string; who: string; what: string; note?: string }

export interface FindingRef {
  id: string; time: string; rule: string; title: string; severity: Severity; host: string; process?: string; count: number;
}

export interface Incident {
  id: string; title: string; status: Status; verdict?: Verdict; severity: Severity; risk: number;
  first_seen: string; last_seen: string; hosts: string[]; summary: string; story: Passage[];
  techniques: Technique[]; entities: Entity[]; processes: ProcessNode[]; findings: FindingRef[];
  finding_count: number; log: Change[]; version: number;
}

export interface IncidentPatch { status?: Status; verdict?: Verdict; note?: string; version?: number }

export interface Container { id: string; runtime?: string; pod_uid?: string; cgroup?: string }
export interface Workload { id: string; kind: string; engine: string; name: string; model?: string }
export interface Model { path: string; name: string; format?: string; dataset?: boolean; workload?: string }

export interface Finding {
  id: string; time: string; host: string; severity: Severity; summary: string; count: number;
  rule: { id: string; name: string; title: string; threat?: string; author?: string; tags?: string[] };
  techniques?: Technique[]; entities: Entity[]; processes?: ProcessNode[];
  container?: Container; workload?: Workload; model?: Model; events: EventRow[]; event_ids: string[];
}

/** A flat event record: every value is a string. */
export type EventRow = Record<string, string>;

export interface EventPage extends Page<EventRow> { took_ms: number; cut?: boolean }
export interface Bucket { time: string; count: number }
export interface Field { name: string; sigma?: string; type: string; doc: string }

export interface Capability { name: string; ok: boolean; detail: string }

export interface Heartbeat {
  host: string; time: string; version: string; kernel: string; boot: string; started: string;
  capabilities: Capability[]; rules: number; rule_errors?: string[]; workloads?: Workload[]; models?: Model[];
}

export interface Agent {
  host: string; status: 'ok' | 'silent' | 'never'; last_seen?: string; heartbeat?: Heartbeat; counters: Record<string, number>;
}

export interface Component { name: string; status: string; detail?: string; restarts: number; lag?: number }
export interface Health { status: string; version?: string; components: Component[] }

export interface Artifact { digest?: string; verdict: string; issue?: string; signature: string; signer?: string; refusal?: string }
export interface ModelFile {
  path: string; model?: string; role: string; format?: string; size: number; open: boolean; pending?: boolean; artifact: Artifact;
}
/** Running is an AI workload that runs. */
export interface Running {
  host: string; id: string; kind: string; engine: string; version?: string; name: string; container?: Container;
  pid: number; processes: number; started: string; exe: string; users?: string[]; listens?: string[]; gpus?: string[];
  job?: { id: string; size?: number; ranks?: number[] }; files: ModelFile[]; files_cut?: number;
}

export interface LoadedRule {
  id: string; name: string; title: string; threat?: string; level: Severity; status?: string;
  description?: string; author?: string; techniques: Technique[];
  inactive?: string; cost: number; hits: number; suppressed: number;
}
