// Links in Markdown and HTML, and whether what they point at is there. Reads text it is given; never the disk, never
// the network.

import { posix } from "node:path";

export interface Link {
  /** 1-based. */
  line: number;
  /** As it stands in the text. */
  target: string;
}

/** What is at a path within the root: nothing, something without anchors, or a page with these anchors. */
export type Look = (path: string) => "missing" | "opaque" | { anchors: Set<string> };

export type Verdict = { kind: "good" | "external" | "outside" } | { kind: "dead_link" | "dead_anchor"; note: string };

const HTML = /\.(html?|xhtml)$/i;
export const PAGE = /\.(md|markdown|html?|xhtml)$/i;
const INLINE = /\]\(\s*(?:<([^<>]*)>|((?:[^\s()\\]|\\.|\([^\s()]*\))+))(?:\s+(?:"[^"]*"|'[^']*'|\([^)]*\)))?\s*\)/g;
const DEFINITION = /^ {0,3}\[[^\]^][^\]]*\]:\s*(?:<([^<>]*)>|(\S+))/;
const AUTOLINK = /<([a-z][a-z0-9+.-]*:[^\s<>]*)>/gi;
const ATTRIBUTE = /<[a-z][^<>]*?\s(?:href|src)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))/gi;
const ANCHOR = /<[a-z][^<>]*?\s(?:id|name)\s*=\s*["']?([^\s"'<>]+)/gi;

const HIDDEN = /<!--[^]*?-->|(?<=<(?:script|style)\b[^<>]*>)[^]*?(?=<\/(?:script|style)>)/gi;

/** The lines that speak: without comments, scripts and styles; in Markdown also without fenced code and code spans. */
function* prose(text: string, html: boolean): Generator<[line: number, text: string]> {
  const blank = (hidden: string): string => hidden.replace(/[^\n]/g, " ");
  let fence = "";
  for (const [index, line] of text.replace(HIDDEN, blank).split("\n").entries()) {
    const mark = html ? "" : fenceOf(line);
    if (mark && (!fence || mark.startsWith(fence))) fence = fence ? "" : mark;
    else if (!fence) yield [index + 1, html ? line : line.replace(/(`+)(?!`).*?[^`]\1(?!`)/g, blank)];
  }
}

/** The marks that open or close fenced code on this line; none elsewhere. */
function fenceOf(line: string): string {
  return /^\s*(?:>\s*)*(`{3,}(?=[^`]*$)|~{3,})/.exec(line)?.[1] ?? "";
}

/** Every link of a page, in order. */
export function linksOf(path: string, text: string): Link[] {
  const html = HTML.test(path);
  const links: Link[] = [];
  for (const [line, said] of prose(text, html)) {
    const patterns = html ? [ATTRIBUTE] : [INLINE, AUTOLINK, ATTRIBUTE];
    const found = patterns.flatMap((pattern) => [...said.matchAll(pattern)]);
    const definition = html ? null : DEFINITION.exec(said);
    for (const match of definition ? [definition, ...found] : found) {
      const target = match.slice(1).find((group) => group !== undefined);
      if (target) links.push({ line, target });
    }
  }
  return links;
}

/** Every anchor of a page: ids and names, and in Markdown the slugs of its headings. */
export function anchorsOf(path: string, text: string): Set<string> {
  const html = HTML.test(path);
  const anchors = new Set<string>();
  const seen = new Map<string, number>();
  for (const match of text.matchAll(ANCHOR)) anchors.add(match[1]!.toLowerCase());
  if (html) return anchors;
  let before = "";
  let fence = "";
  for (const line of text.split("\n")) {
    const mark = fenceOf(line);
    if (mark && (!fence || mark.startsWith(fence))) fence = fence ? "" : mark;
    const underlined = /^ {0,3}(=+|-+)\s*$/.test(line) && before.trim() ? before : undefined;
    const title = fence ? undefined : (/^ {0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*$/.exec(line)?.[1] ?? underlined);
    if (title !== undefined) addHeading(title, anchors, seen);
    before = line;
  }
  return anchors;
}

function addHeading(title: string, anchors: Set<string>, seen: Map<string, number>): void {
  const named = /\{#([^\s}]+)\}\s*$/.exec(title);
  if (named) anchors.add(named[1]!.toLowerCase());
  const linkless = title.replace(/!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])/g, "$1");
  const plain = linkless.replace(/\{#[^}]*\}\s*$/, "").replace(/<[^<>]*>/g, "");
  // Renderers differ in whether an underscore is emphasis; either slug will do.
  for (const text of new Set([plain, plain.replace(/(^|\W)_+|_+(\W|$)/g, "$1$2")])) {
    const slug = text.trim().toLowerCase().replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, "").replaceAll(" ", "-");
    const times = seen.get(slug) ?? 0;
    seen.set(slug, times + 1);
    anchors.add(times ? `${slug}-${times}` : slug);
  }
}

/** Where a link of the page `from` leads. */
export function judge(from: string, target: string, look: Look): Verdict {
  if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(target)) return { kind: "external" };
  if (/\{\{|\{%|<%|\$\{/.test(target)) return { kind: "outside" }; // a template's, not yet a link
  const [, rawPath = "", rawAnchor = ""] = /^([^?#]*)(?:\?[^#]*)?(?:#(.*))?$/s.exec(target) ?? [];
  const path = rawPath === "" ? from : locate(from, decode(rawPath.replace(/\\(.)/g, "$1")));
  if (path.startsWith("..")) return { kind: "outside" };
  const there = look(path);
  const fromRoot = rawPath.startsWith("/") ? ", counted from the root" : "";
  if (there === "missing") return { kind: "dead_link", note: `there is no ${path}${fromRoot}` };
  const anchor = decode(rawAnchor).toLowerCase();
  if (there === "opaque" || anchor === "" || anchor === "top" || anchor.startsWith(":~:")) return { kind: "good" };
  if (there.anchors.has(anchor) || there.anchors.has(`user-content-${anchor}`)) return { kind: "good" };
  return { kind: "dead_anchor", note: `${path} has no heading or id for #${anchor}` };
}

function locate(from: string, path: string): string {
  const joined = path.startsWith("/") ? path.slice(1) : posix.join(posix.dirname(from), path);
  return posix.normalize(joined || ".").replace(/(?<=.)\/$/, "");
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
