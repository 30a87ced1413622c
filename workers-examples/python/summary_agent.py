"""The agent `summary`: the key sentences of a folder's documents. No model; its token counts are estimates."""

import json
import re
from pathlib import Path

from bailiwick_worker import Answer, Worker
from key_sentences import key_sentences

DOCUMENT = re.compile(r"(^|/)(?!(licen[cs]e|copying|notice)\b)[^/]*\.(md|markdown|txt|rst|adoc)$|(^|/)readme$", re.I)
EACH, MOST = 3, 200  # findings of one document, and in all
worker = Worker()


def read(root, name):
    """The text of a file in root, or None: not in root, over 1 MiB, not text."""
    try:
        path = (root / name).resolve()
        if path.is_relative_to(root) and path.is_file() and path.stat().st_size <= 1 << 20:
            return path.read_bytes().decode("utf-8")
    except (OSError, ValueError, RuntimeError):
        pass
    return None


@worker.agent("summary", description="Key sentences of the documents among {root, files}, each with its place.")
def summary(ctx):
    root = Path(ctx.input["root"]).resolve()
    names = [name for name in ctx.input["files"] if DOCUMENT.search(name)]
    facts = {"documents": 0, "skipped": 0, "words": 0, "sentences": 0}
    best, stopped = [], ""
    for number, name in enumerate(names, 1):
        text = read(root, name)
        if text is None:
            facts["skipped"] += 1
            continue
        ranked = key_sentences(text)
        picked = [(s.score, {"kind": "key_sentence", "path": name, "line": s.line, "text": s.excerpt, "note": s.whole})
                  for s in ranked[:EACH]]
        tokens = len(text) // 4, len(json.dumps(picked)) // 4
        if not ctx.afford(sum(tokens)):
            stopped = "the allowance ended after %d of %d documents" % (number - 1, len(names))
            break
        ctx.usage(*tokens)  # stops here when the lease is gone
        best += picked
        for fact, n in ("documents", 1), ("words", len(text.split())), ("sentences", len(ranked)):
            facts[fact] += n
        if number % 20 == 0 or number == len(names):
            ctx.progress("read %d of %d documents, %d sentences" % (number, len(names), facts["sentences"]))
    best = sorted(best, key=lambda p: -p[0])[:MOST]
    said = "%(documents)d documents of %(words)d words in %(sentences)d sentences" % facts
    said += '; the key sentence of all: "%s"' % best[0][1]["note"] if best else "; no key sentence"
    findings = sorted((finding for _, finding in best), key=lambda f: (f["path"], f["line"]))
    # Which sentence is key is a matter of judgement, and counting words is a modest judge: 0.75.
    result = {"summary": said, "facts": facts, "findings": findings}
    return Answer(result, 0.75, "partial" if stopped else "success", stopped)


worker.run()
