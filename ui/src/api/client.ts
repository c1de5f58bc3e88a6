/** What the server answered instead of what was asked for: RFC 9457. */
export class Problem extends Error {
  constructor(readonly status: number, readonly title: string, detail: string) {
    super(detail || title);
  }
}

let csrf = '';

/** setCSRF remembers the session's token, which every write sends. */
export function setCSRF(token: string | undefined) {
  csrf = token ?? '';
}

export type Params = Record<string, string | number | undefined>;

/** search writes the parameters that have a value as ?a=b&c=d, or "". */
export function search(params: Params): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) {
    if (v !== undefined && v !== '') q.set(k, String(v));
  }
  const s = q.toString();
  return s ? '?' + s : '';
}

async function problem(r: Response): Promise<Problem> {
  try {
    const p = await r.json() as { title?: string; detail?: string; errors?: { message: string; location?: string }[] };
    const more = (p.errors ?? []).map((e) => [e.location, e.message].filter(Boolean).join(': ')).join('; ');
    return new Problem(r.status, p.title ?? r.statusText, [p.detail, more].filter(Boolean).join(': '));
  } catch {
    return new Problem(r.status, r.statusText, `the server answered ${r.status} ${r.statusText}`);
  }
}

async function send<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET' && csrf) headers['X-CSRF-Token'] = csrf;
  let r: Response;
  try {
    r = await fetch('/api/v1/' + path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new Problem(0, 'No answer', 'The server does not answer. Is `picket run` still running?');
  }
  if (!r.ok) throw await problem(r);
  const text = await r.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export const get = <T>(path: string, params: Params = {}, signal?: AbortSignal) => send<T>('GET', path + search(params), undefined, signal);
export const post = <T>(path: string, body: unknown) => send<T>('POST', path, body);
export const put = <T>(path: string, body: unknown) => send<T>('PUT', path, body);
export const patch = <T>(path: string, body: unknown) => send<T>('PATCH', path, body);
export const remove = <T>(path: string) => send<T>('DELETE', path);
