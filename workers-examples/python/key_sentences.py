"""Key sentences of a text, by counting: which sentences hold the words this text is about. Knows nothing of agents."""

import math
import re
from collections import Counter, namedtuple

# `line` and `excerpt`: where to find it, and what stands there; `whole` is the sentence over all its lines.
Sentence = namedtuple("Sentence", "score line excerpt whole")

ITEM = re.compile(r"\s*(?:[-*+>]|\d+[.)])\s+")
NOT_PROSE = re.compile(r"\s*(?:[#|<=~:]|\[!|!\[|\[[^\]]*\]:|-{3}|\.\.)|\s{4,}[^\s\-*+\d]|\t")
ABBREVIATED = r"(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\betc)"
SENTENCE_END = re.compile(ABBREVIATED + r"[.!?][\"')\]*_`]*(?:\s+(?=[\"'(\[*_`]*[A-Z0-9À-Þ])|$)")
WORD = re.compile(r"[^\W\d_]{3,}")
SHORTEST, LONGEST = 30, 400  # characters of a sentence worth quoting
DAMPING = 6  # words added to a sentence's length, so that one rare word does not make a key sentence


def paragraphs(text):
    """Yields paragraphs of prose: lists of (line number from 1, the line without its margins)."""
    current, fenced = [], False
    for number, line in enumerate(text.split("\n"), 1):
        fence = line.lstrip().startswith(("```", "~~~"))
        fenced ^= fence
        # An indented line goes on with a list item, but begins nothing other than code.
        indented = bool(current) and line.startswith((" ", "\t"))
        prose = bool(line.strip()) and not (fence or fenced or NOT_PROSE.match(line.lstrip() if indented else line))
        item = ITEM.match(line)
        if current and (not prose or item):
            yield current
            current = []
        if prose:
            current.append((number, line[item.end():].strip() if item else line.strip()))
    if current:
        yield current


def sentences(text):
    """Yields Sentence without a score for every sentence of prose that is neither a scrap nor a sprawl."""
    for paragraph in paragraphs(text):
        joined, starts = "", []
        for _, part in paragraph:
            starts.append(len(joined))
            joined += part + " "
        begin = 0
        for end in [m.end() for m in SENTENCE_END.finditer(joined.rstrip())]:
            if SHORTEST <= len(joined[begin:end].strip()) <= LONGEST:
                yield place(paragraph, starts, joined, begin, end)
            begin = end


def place(paragraph, starts, joined, begin, end):
    """The sentence at joined[begin:end], quoted by its longest part on one line."""
    ends = [start + len(part) for start, (_, part) in zip(starts, paragraph)]
    parts = [(line, joined[max(begin, s):min(end, e)].strip()) for (line, _), s, e in zip(paragraph, starts, ends)]
    line, excerpt = max(parts, key=lambda p: len(p[1]))
    return Sentence(0.0, line, excerpt, joined[begin:end].strip())


def key_sentences(text):
    """Every sentence with its score, best first: the damped mean of its words' weights, tf-idf over the sentences."""
    found = [(s, WORD.findall(s.whole.lower())) for s in sentences(text)]
    counts = Counter(word for _, words in found for word in words)
    spread = Counter(word for _, words in found for word in set(words))
    weight = {word: count * math.log((1 + len(found)) / spread[word]) for word, count in counts.items()}
    scored = [s._replace(score=sum(weight[w] for w in set(words)) / (len(set(words)) + DAMPING)) for s, words in found]
    return sorted(scored, key=lambda s: (-s.score, s.line))
