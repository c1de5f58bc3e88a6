import { type Token, type Tokens, lexer } from 'marked';
import { Fragment, type ReactNode } from 'react';
import { Value } from './Value';
import { fits, pieces } from './fill';

interface Props {
  text: string;
  /** Values for names in the text, such as ID or __host__. They may be an attacker's words: they are shown, never read as Markdown. */
  values?: Record<string, string>;
  /** Draws an item of a list, whose place is its number in all lists of the text. */
  item?: (place: number, children: ReactNode) => ReactNode;
}

/** Markdown shows a text. HTML in it is shown as text; pictures and addresses other than https are not followed. */
export function Markdown({ text, values = {}, item }: Props) {
  const draw = { values, item, next: 0 };
  return <div className="markdown">{blocks(lexer(text), draw)}</div>;
}

interface Draw { values: Record<string, string>; item?: Props['item']; next: number }

const blocks = (list: Token[], d: Draw) => list.map((t, n) => <Fragment key={n}>{block(t as Tokens.Generic, d)}</Fragment>);

function block(t: Tokens.Generic, d: Draw): ReactNode {
  switch (t.type) {
    case 'space': case 'def': return null;
    case 'hr': return <hr />;
    case 'heading': return t.depth <= 1 ? <h3>{inline(t.tokens!, d)}</h3> : <h4>{inline(t.tokens!, d)}</h4>;
    case 'paragraph': return <p>{inline(t.tokens!, d)}</p>;
    case 'code': return <pre>{t.text as string}</pre>;
    case 'blockquote': return <blockquote>{blocks(t.tokens!, d)}</blockquote>;
    case 'list': return list(t as Tokens.List, d);
    case 'table': return table(t as Tokens.Table, d);
    case 'text': return t.tokens ? inline(t.tokens, d) : said(t.raw, d);
  }
  return <p>{t.raw}</p>;
}

function list(t: Tokens.List, d: Draw): ReactNode {
  const items = t.items.map((i, n) => {
    const place = d.next++;
    const inside = blocks(i.tokens, d);
    return <li key={n}>{d.item ? d.item(place, inside) : inside}</li>;
  });
  return t.ordered ? <ol start={Number(t.start) || 1}>{items}</ol> : <ul>{items}</ul>;
}

const table = (t: Tokens.Table, d: Draw) => (
  <table className="grid">
    <thead><tr>{t.header.map((c, n) => <th key={n}>{inline(c.tokens, d)}</th>)}</tr></thead>
    <tbody>{t.rows.map((r, n) => <tr key={n}>{r.map((c, m) => <td key={m}>{inline(c.tokens, d)}</td>)}</tr>)}</tbody>
  </table>
);

const inline = (list: Token[], d: Draw): ReactNode => list.map((t, n) => <Fragment key={n}>{word(t as Tokens.Generic, d)}</Fragment>);

function word(t: Tokens.Generic, d: Draw): ReactNode {
  switch (t.type) {
    case 'strong': return <strong>{inline(t.tokens!, d)}</strong>;
    case 'em': return <em>{inline(t.tokens!, d)}</em>;
    case 'codespan': return <code>{pieces(t.raw.replace(/^`+ ?| ?`+$/g, ''), d.values).map((p, n) => (p.value !== undefined && fits(p.value) ? <mark key={n}>{p.value}</mark> : p.text))}</code>;
    case 'br': return <br />;
    case 'escape': return t.text as string;
    case 'link': return /^https:\/\//.test(t.href as string) ? <a href={t.href as string} target="_blank" rel="noreferrer">{inline(t.tokens!, d)}</a> : inline(t.tokens!, d);
    case 'text': return t.tokens ? inline(t.tokens, d) : said(t.raw, d);
  }
  return t.raw;
}

const said = (text: string, d: Draw) => pieces(text, d.values).map((p, n) => (p.value === undefined ? p.text : <mark key={n} title={p.text}><Value text={p.value} max={200} /></mark>));
