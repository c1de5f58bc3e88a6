/** A stretch of text; code is set where it stands for one character that would not be seen. */
export interface Piece { text: string; code?: string }

// Controls, and characters that are not seen, or turn the order of those that are.
const hidden = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/u;
const hiddenAll = new RegExp(hidden.source, 'gu');

const hex = (c: string) => 'U+' + c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');

const names = ('NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB ' +
  'CAN EM SUB ESC FS GS RS US').split(' ');

// Names, as few fonts have the pictures of controls (U+2400 and on).
function picture(c: string): string {
  const n = c.codePointAt(0)!;
  return '\u2039' + (n === 0x7f ? 'DEL' : names[n] ?? hex(c)) + '\u203a';
}

/** visible splits text so that every character that a terminal or browser would act on is shown. */
export function visible(text: string): Piece[] {
  const out: Piece[] = [];
  let from = 0;
  for (const m of text.matchAll(hiddenAll)) {
    if (m.index > from) out.push({ text: text.slice(from, m.index) });
    out.push({ text: picture(m[0]), code: hex(m[0]) });
    from = m.index + m[0].length;
  }
  if (from < text.length) out.push({ text: text.slice(from) });
  return out;
}

/** plain is visible as one string, for titles and labels. */
export const plain = (text: string) => (hidden.test(text) ? visible(text).map((p) => p.text).join('') : text);

/** cut shortens text to max characters and never splits one. */
export function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const last = text.charCodeAt(max - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? max - 1 : max);
}
