"""The agent `critic`: a validator. No model; it holds a result against the goal by its words, as a stand-in for one.

Put `gate: {validator: critic}` into a contract, and every result that passed all other checks comes here first.
"""

import json
import re

from bailiwick_worker import Answer, Verdict, Worker

WORD = re.compile(r"[a-z]{5,}")
LEAST = 0.3  # of the goal's words, to be found in the result
worker = Worker()


def words(text):
    return set(WORD.findall(text.lower()))


def objections(goal, candidate):
    """What stands against a candidate, each in words that its author can act on."""
    if candidate.result in (None, "", [], {}):
        return ["there is no result: answer with one, or say in the reason why there is none"]
    wanted, found = words(goal), words(json.dumps(candidate.result))
    missing = sorted(wanted - found)
    if wanted and len(missing) > (1 - LEAST) * len(wanted):
        return ["the result hardly speaks of the goal: it does not mention %s" % ", ".join(missing[:8])]
    return []


@worker.agent("critic", description="Judges results: do they speak of the goal?")
def critic(ctx):
    if not ctx.is_validate:
        return Answer(status="failed", reason="critic judges the results of others; name it as gate.validator")
    found = objections(ctx.goal, ctx.candidate)
    ctx.usage(len(ctx.goal + json.dumps(ctx.candidate.result)) // 4, 20)
    return Verdict.disagree(*found, confidence=0.7) if found else Verdict.agree(confidence=0.6)


if __name__ == "__main__":
    worker.run()
