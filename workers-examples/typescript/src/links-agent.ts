// The agent `links`: dead links in Markdown and HTML. No network: links elsewhere are counted, not followed. No model:
// its token counts are estimates.

import { Answer, Context, Worker } from "./bailiwick-worker.js";
import { read } from "./folder.js";
import { Look, PAGE, anchorsOf, judge, linksOf } from "./links.js";

const MOST = 200; // findings
const DESCRIPTION = "Dead relative links and anchors in the Markdown and HTML among {root, files}.";

async function links(ctx: Context): Promise<Answer> {
  const { root, files } = ctx.input as { root: string; files: string[] };
  const pages = files.filter((path) => PAGE.test(path));
  const facts = { pages: 0, skipped: 0, links: 0, good: 0, external: 0, outside: 0, dead_link: 0, dead_anchor: 0 };
  const findings: { kind: string; path: string; line: number; text: string; note: string }[] = [];
  const known = new Map<string, ReturnType<Look>>();
  const look: Look = (path) => {
    let there = known.get(path);
    if (there) return there;
    const file = read(root, path);
    there = typeof file === "string" ? file : PAGE.test(path) ? { anchors: anchorsOf(path, file.text) } : "opaque";
    known.set(path, there);
    return there;
  };
  let reason = "";
  for (const [index, path] of pages.entries()) {
    await ctx.breathe();
    const page = read(root, path);
    const text = typeof page === "string" ? "" : page.text;
    const judged = linksOf(path, text).map(({ line, target }) => ({ line, target, ...judge(path, target, look) }));
    const dead = judged.flatMap(({ line, target, ...verdict }) =>
      "note" in verdict ? [{ kind: verdict.kind, path, line, text: target, note: verdict.note }] : []);
    const [inputTokens, outputTokens] = [text, JSON.stringify(dead)].map((s) => Math.ceil(s.length / 4));
    if (!(await ctx.afford(inputTokens! + outputTokens!))) {
      reason = `the allowance ended after ${index} of ${pages.length} pages`;
      break;
    }
    ctx.usage({ inputTokens, outputTokens });
    facts[typeof page === "string" ? "skipped" : "pages"] += 1;
    facts.links += judged.length;
    for (const { kind } of judged) facts[kind] += 1;
    findings.push(...dead.slice(0, MOST - findings.length));
    if (index % 20 === 19) ctx.progress(`${index + 1} of ${pages.length} pages, ${facts.links} links`);
  }
  const summary = `${facts.links} links on ${facts.pages} pages: ${facts.dead_link} to files that are not there, ` +
    `${facts.dead_anchor} to anchors that are not there, ${facts.external} elsewhere (not followed)`;
  // Whether a file is there is certain; how a heading becomes an anchor is up to the renderer: 0.9.
  return { result: { summary, facts, findings }, confidence: 0.9, status: reason ? "partial" : "success", reason };
}

const worker = new Worker();
worker.agent("links", links, { description: DESCRIPTION });
await worker.run();
