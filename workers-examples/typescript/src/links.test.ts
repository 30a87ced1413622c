// Fast tests of what can be wrong without a server: npm test, after ./run --setup.

import assert from "node:assert/strict";
import { test } from "node:test";
import { childTraceparent, toComplete, toJson } from "./bailiwick-worker.js";
import { backoff, nextFailures } from "./bailiwick-wire.js";
import { Look, anchorsOf, judge, linksOf } from "./links.js";
import { Usage } from "../gen/bailiwick/v1/envelope.js";
import { Complete } from "../gen/bailiwick/v1/worker_service.js";

const PAGE = `# The Ledger, \`spent\` & more
Read [the plan](plan.md "Plan") and ![a picture](img/a%20b.png).
\`[code](nowhere.md)\` is none. <!-- [hidden](gone.md) -->
\`\`\`
[fenced](nowhere.md)
\`\`\`
[def]: ../up.md
Setext_name here
---
<a href='#x' id="Own">x</a> <https://example.org/> [paren](a_(b).md)
## The Ledger, \`spent\` & more
`;

test("links are found where they speak, with their lines", () => {
  const found = linksOf("docs/a.md", PAGE).map((link) => `${link.line} ${link.target}`);
  const expected = ["2 plan.md", "2 img/a%20b.png", "7 ../up.md", "10 a_(b).md", "10 https://example.org/", "10 #x"];
  assert.deepEqual(found, expected);
  const lines = PAGE.split("\n");
  for (const { line, target } of linksOf("docs/a.md", PAGE)) assert.ok(lines[line - 1]?.includes(target));
});

test("anchors are the slugs of headings, numbered when they repeat, and ids", () => {
  const anchors = [...anchorsOf("a.md", PAGE)].sort();
  assert.deepEqual(anchors, ["own", "setext_name-here", "the-ledger-spent--more", "the-ledger-spent--more-1"]);
  assert.deepEqual([...anchorsOf("a.html", '<h1 id="A">x</h1>\n# no heading')], ["a"]);
});

test("every kind of target is judged", () => {
  const look: Look = (path) => {
    if (path === "docs/a.md") return { anchors: new Set(["here"]) };
    return ["docs/a b.png", "src", "README.md"].includes(path) ? "opaque" : "missing";
  };
  const kind = (target: string): string => judge("docs/a.md", target, look).kind;
  const expected: Record<string, string> = {
    "a%20b.png": "good", "../src/": "good", "/README.md?x=1#y": "good", "#here": "good", "#HERE": "good", "#": "good",
    "a.md#here": "good", "#gone": "dead_anchor", "b.md": "dead_link", "../b.md": "dead_link", "../../b.md": "outside",
    "mailto:a@b.c": "external", "//x.y/z": "external", "HTTP://x": "external", "{{ page }}": "outside",
    "%zz": "dead_link",
  };
  for (const [target, wanted] of Object.entries(expected)) assert.equal(kind(target), wanted, target);
});

test("backoff stays in its bounds", () => {
  assert.deepEqual([backoff(0, 0), backoff(1e6, 0)], [0.1, 0.1]);
  assert.deepEqual([backoff(0, 1), backoff(2, 1), backoff(1e6, 1)].map((s) => +s.toFixed(3)), [0.2, 0.8, 5]);
  assert.deepEqual([nextFailures(7, true, 9), nextFailures(7, true, 0.1), nextFailures(7, false, 9)], [0, 2, 8]);
});

test("a child keeps the trace", () => {
  const parent = `00-${"ab".repeat(16)}-${"cd".repeat(8)}-00`;
  const child = childTraceparent(parent);
  assert.equal(child.slice(0, 36) + child.slice(52), parent.slice(0, 36) + parent.slice(52));
  assert.notEqual(child, parent);
  assert.match(childTraceparent("nonsense"), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
});

test("an answer survives the wire, and one that does not fit together is refused", () => {
  const result = { a: [1, -2.5, true, null, "é"], b: {}, c: 1e12 };
  const sent = toComplete("L", { result, handOff: { agent: "b", input: null } }, Usage.create({ inputTokens: 2 }));
  const back = Complete.decode(Complete.encode(sent).finish()).answer;
  assert.ok(back?.$case === "envelope" && back.value.directive?.$case === "handOff");
  assert.deepEqual(back.value.result, result);
  assert.equal(back.value.directive.value.input, null);
  assert.equal(back.value.usage?.inputTokens, 2);
  const wrong = [{ status: "failed" as const }, { confidence: 2 }, { askHuman: "?", handOff: { agent: "b" } }];
  for (const answer of wrong) assert.throws(() => toComplete("L", answer, Usage.create()));
  assert.throws(() => toJson(() => 1));
  assert.throws(() => toJson("x".repeat(1 << 20)));
});
