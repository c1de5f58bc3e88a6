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
  user?: string; container?: string; drift?: boolean; start_boot?: number; boot?: string;
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
  finding_count: number; log: Change[]; version: number; tags?: string[];
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
  packages?: { name: string; version: string }[];
  job?: { id: string; size?: number; ranks?: number[] }; files: ModelFile[]; files_cut?: number;
}

export interface LoadedRule {
  id: string; name: string; title: string; threat?: string; level: Severity; status?: string;
  description?: string; author?: string; techniques: Technique[];
  inactive?: string; cost: number; hits: number; suppressed: number;
}

/** GPU is a GPU of a host; a number that its driver does not tell is null. Power is in milliwatts. */
export interface GPU {
  host: string; status: string; uuid: string; index: number; name: string; driver: string; pci: string; source: string; mig?: string;
  util: number | null; memory_used: number | null; memory_total: number | null; power: number | null; power_limit: number | null;
  clock_sm: number | null; clock_memory: number | null; temperature: number | null; ecc: number | null; retired: number | null; users: GPUUser[];
}
export interface GPUUser {
  pid: number; memory: number | null; util: number | null; type: string; mig?: string; mining?: number | null; reasons?: string;
  process: string; container?: string; workload?: string;
}

/** Covered is an entry of the catalogue of threats, and how much of it is seen. */
export interface Covered {
  id: string; group: string; title: string; atlas: string[]; attack: string[]; rules: string[]; gap?: string;
  coverage: 'seen' | 'partly' | 'dark'; techniques: Technique[]; needs: string[]; missing?: Record<string, string[]>; unloaded?: string[];
}

export type ActClass = 'observe' | 'reversible' | 'destructive';
export interface Target {
  host: string; process?: { pid: number; exe?: string; start?: number }; lineage?: boolean; cgroup?: string; container?: string;
  file?: { path: string }; object?: { of: string; kind: string; namespace?: string; name?: string; container?: string }; address?: string;
}

/** Act is one thing that a plan would do. ttl is in nanoseconds. One with an id may be left out of the plan. */
export interface Act {
  id?: string; left_out?: boolean;
  playbook?: string; step: string; name: string; index: number; when: string[]; kind: string; class: ActClass; target?: Target;
  params?: Record<string, string>; ttl?: number; text?: string; open?: string; gone?: string; digest: string;
  effects: string[]; hits: string[]; undo?: string; error?: string;
}
/** Cost is one thing that a plan would cost, in words; it may be "not known". */
export interface Cost { what: string; of: string; value: string; evidence: string }
export interface Plan {
  playbook: string; name: string; version: string; body: string; incident: string; given: Record<string, string>; class: ActClass; acts: Act[];
  questions: { step: string; text: string }[]; warnings: string[]; hash: string; costs?: Cost[]; tags?: string[];
}
export interface ActRequest { id: string; step?: string; kind: string; target: Target; params?: Record<string, string>; ttl?: number }
export interface ActResult { id: string; state: string; detail: string; at: string; until?: string; output?: string; evidence?: { path: string; sha256: string; size: number }[] }
export type RunState = 'suggested' | 'waiting' | 'running' | 'succeeded' | 'failed' | 'rejected' | 'expired' | 'cancelled';
export interface Ask { task: string; step: string; what: 'decide' | 'do' | 'holds'; text: string; since: string; until?: string; assign?: string[] }
export interface Hold { request: ActRequest; until: string; tries?: number }
export interface Run {
  id: string; incident: string; state: RunState; by: string; reason?: string; plan: Plan; values?: Record<string, string>; edited_by?: string; approvals: { by: string; at: string; hash: string; reason?: string }[];
  not_after?: string; opened: string; changed: string; ended?: string; failure?: string; cancel?: string; asks: Ask[]; holds: Hold[];
}
export interface RunRecord { seq: number; time: string; what: string; task?: string; step?: string; who?: string; text: string; data?: unknown }

/** Step is a step of a playbook, as CACAO 2.0 writes it. */
export interface Step {
  type: string; name?: string; description?: string; on_completion?: string; on_success?: string; on_failure?: string; on_true?: string; on_false?: string;
  condition?: string; next_steps?: string[]; cases?: Record<string, string>; switch?: string; agent?: string; playbook_id?: string;
  commands?: { type: string; command?: string; content?: string }[];
}
export interface PlaybookInfo { name: string; id: string; title: string; description?: string; version: string; hash: string; activities: string[] }
export interface Playbook extends PlaybookInfo {
  runbook?: string;
  body: { workflow_start: string; workflow: Record<string, Step>; agent_definitions?: Record<string, { type: string; name: string }> };
}
export interface Simulation {
  playbook: string; acts: Record<string, number>; benign: Record<string, number>; asked: number;
  plans: { incident: string; title: string; verdict?: Verdict; acts: Record<string, number>; error?: string }[];
}
