export type StreamState = 'connecting' | 'live' | 'away';

const firstWait = 1_000;
const longestWait = 30_000;

/** backoff is how long to wait before the n-th try in a row, with up to a quarter of jitter. */
export function backoff(n: number, random: () => number = Math.random): number {
  return Math.min(longestWait, firstWait * 2 ** Math.min(n, 10)) * (0.75 + random() / 4);
}

/**
 * listen follows server-sent events until the function that it returns is called. A browser gives up
 * after an answer such as 503; this does not, and resumes behind the last message that it saw.
 */
export function listen(
  path: string,
  handlers: Record<string, (data: string) => void>,
  onState: (s: StreamState) => void,
): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = '';
  let tries = 0;
  let ended = false;

  const open = () => {
    if (ended) return;
    onState(tries === 0 ? 'connecting' : 'away');
    const url = last ? path + (path.includes('?') ? '&' : '?') + 'after=' + encodeURIComponent(last) : path;
    source = new EventSource(url);
    source.onopen = () => {
      tries = 0;
      onState('live');
    };
    source.onerror = () => {
      onState('away');
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      timer = setTimeout(open, backoff(tries++));
    };
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (e) => {
        const m = e as MessageEvent<string>;
        if (m.lastEventId) last = m.lastEventId;
        handle(m.data);
      });
    }
  };
  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    source?.close();
  };
}
