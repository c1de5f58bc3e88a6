// A fake of Picket's API with made-up data, and the built page: `npm run fake`, then open the link.
import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { answer, gpus, history, threats } from './answers.mjs';
import { events, fields, findings, fleet, health, incidents, inventory, rules } from './data.mjs';

const app = fileURLToPath(new URL('../dist/app', import.meta.url));
const types = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html' };
const csp = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const order = ['informational', 'low', 'medium', 'high', 'critical'];
const token = 'fake';

export const session = { user: 'admin', role: 'admin', csrf: 'csrf-fake', password_set: false };
const streams = new Set();

function publish(name, data) {
  for (const s of streams) if (name !== 'event' || s.events) s.res.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

const json = (res, status, body) => {
  res.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json' });
  res.end(body === undefined ? '' : JSON.stringify(body));
};
const problem = (res, status, detail) => json(res, status, { title: 'Problem', status, detail });

const words = (q) => (q.match(/"(?:[^"\\]|\\.)*"|[^\s:"]+/g) ?? []).map((w) => w.replaceAll('"', '').toLowerCase()).filter((w) => w && w !== '*');
const search = (list, q) => list.filter((x) => words(q).every((w) => JSON.stringify(x).toLowerCase().includes(w)));

const get = {
  incidents: (q) => ({ items: search(incidents, q.get('q') ?? '').filter((i) => (!q.get('status') || i.status === q.get('status')) && order.indexOf(i.severity) >= order.indexOf(q.get('severity') ?? '')) }),
  findings: (q) => ({ items: q.get('incident') === 'inc-steal' ? findings : [] }),
  events: (q) => history(q.get('q') ?? '') ?? (q.get('q')?.includes('((') ? new Error('cannot read the query: a bracket is not closed') : { items: search(events, q.get('q') ?? '').sort((a, b) => b._time.localeCompare(a._time)), took_ms: 12.4 }),
  'events/hits': (q) => {
    const found = search(events, q.get('q') ?? '');
    return { buckets: Array.from({ length: 60 }, (_, n) => ({ time: new Date(Date.now() - (60 - n) * 60_000).toISOString(), count: Math.round(found.length / 20 * (1 + Math.sin(n / 4)) * (n > 50 ? 6 : 1)) })) };
  },
  'events/fields': () => ({ items: fields }),
  fleet: () => ({ items: fleet }),
  inventory: () => ({ items: inventory }),
  health: () => health,
  rules: () => ({ items: rules }),
  gpus: () => gpus,
  threats: () => threats,
};

function change(res, id, body) {
  const i = incidents.find((x) => x.id === id);
  if (!i) return problem(res, 404, 'there is no incident ' + id);
  if (body.version && body.version !== i.version) return problem(res, 409, 'changed by someone else meanwhile; read it again and repeat the change');
  if (body.status) Object.assign(i, { status: body.status, verdict: body.verdict });
  i.log.push({ time: new Date().toISOString(), who: session.user, what: [body.status, body.verdict].filter(Boolean).join(' as ') || 'noted', note: body.note });
  i.version++;
  publish('incident', i);
  json(res, 200, i);
}

async function api(req, res, url) {
  const path = url.pathname.slice('/api/v1/'.length);
  const chunks = [];
  for await (const c of req) chunks.push(c);
  const body = chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : {};
  if (path === 'session' && req.method === 'POST') {
    if (body.password !== 'correct horse') return problem(res, 401, 'user or password is wrong');
    res.setHeader('Set-Cookie', 'picket_session=1; HttpOnly; SameSite=Strict; Path=/');
    return json(res, 200, session);
  }
  if (!req.headers.cookie?.includes('picket_session=1')) return problem(res, 401, 'sign in first');
  if (path === 'session' && req.method === 'DELETE') {
    res.setHeader('Set-Cookie', 'picket_session=; Max-Age=0; Path=/');
    return json(res, 204);
  }
  if (req.method !== 'GET' && req.headers['x-csrf-token'] !== session.csrf) return problem(res, 403, 'the X-CSRF-Token header is missing or wrong');
  if (path === 'session/password') {
    session.password_set = true;
    return json(res, 204);
  }
  if (path === 'session') return json(res, 200, session);
  if (path === 'stream') return stream(req, res, url);
  const [kind, id] = path.split('/');
  if (kind === 'incidents' && id) {
    if (req.method === 'PATCH') return change(res, id, body);
    const i = incidents.find((x) => x.id === id);
    return i ? json(res, 200, i) : problem(res, 404, 'there is no incident ' + id);
  }
  const told = answer(req.method, path, url.searchParams, body, publish);
  if (told) return told[0] < 400 ? json(res, ...told) : problem(res, ...told);
  const found = get[path]?.(url.searchParams);
  if (found instanceof Error) return problem(res, 400, found.message);
  return found ? json(res, 200, found) : problem(res, 404, 'there is nothing at this path');
}

function stream(req, res, url) {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  res.write('retry: 1000\nevent: hello\ndata: {}\n\n');
  const s = { res, events: url.searchParams.get('events') === '1' };
  streams.add(s);
  req.on('close', () => streams.delete(s));
}

function page(res, url) {
  const file = join(app, normalize(url.pathname));
  const found = extname(file) && existsSync(file) ? file : join(app, 'index.html');
  if (!existsSync(found)) return problem(res, 404, 'build the page first: npm run build');
  res.setHeader('Content-Type', types[extname(found)] ?? 'application/octet-stream');
  createReadStream(found).pipe(res);
}

/** start serves the fake and returns its one-time link and how to end it. */
export async function start(port = 0) {
  const server = createServer((req, res) => {
    const url = new URL(req.url, 'http://fake');
    res.setHeader('Content-Security-Policy', csp);
    if (url.pathname === '/signin') {
      const ok = url.searchParams.get('token') === token;
      if (ok) res.setHeader('Set-Cookie', 'picket_session=1; HttpOnly; SameSite=Strict; Path=/');
      res.writeHead(303, { Location: ok ? '/' : '/?signin=expired' });
      return res.end();
    }
    if (url.pathname.startsWith('/api/v1/')) return void api(req, res, url).catch((e) => problem(res, 500, String(e)));
    page(res, url);
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  let n = 0;
  const timer = setInterval(() => publish('event', { ...events[n++ % events.length], _time: new Date().toISOString(), 'event.id': 'live' + n }), 300);
  return {
    link: `http://127.0.0.1:${server.address().port}/signin?token=${token}`,
    publish,
    stop: () => {
      clearInterval(timer);
      server.closeAllConnections();
      server.close();
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log((await start(Number(process.env.PORT ?? 8090))).link);
