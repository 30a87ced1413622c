"""The agent that `bailiwick conformance` drives: its input says what to do. Not an example of real work."""

from bailiwick_worker import Answer, Decision, Retryable, Verdict, Worker

worker = Worker()


def act(ctx, kind, value, seen):
    if kind == "usage":
        ctx.usage(value.get("input_tokens", 0), value.get("output_tokens", 0))
    elif kind == "progress":
        ctx.progress(value.get("text"), partial=value.get("partial"))
    elif kind == "request_budget":
        seen["granted"].append(ctx.request_budget(value))
    elif kind == "sleep_ms":
        ctx.sleep(value / 1000)
    elif kind == "lineage":
        seen["lineage"] = [entry.id for entry in ctx.lineage()]
    elif kind == "fail":
        raise RuntimeError(value)
    elif kind == "fail_retryable":
        raise Retryable(value)
    else:
        raise ValueError("unknown action %r" % kind)


def verdict(ctx, said):
    if said.get("agree", True):
        return Verdict.agree(confidence=said.get("confidence"))
    seen = ["author " + ctx.candidate.agent, "result " + str(ctx.candidate.result)]
    seen += ["criterion " + criterion for criterion in ctx.criteria]
    return Verdict.disagree(*said.get("reasons", []), *seen, confidence=said.get("confidence"))


@worker.agent("conformance", description="Does what its input says, so that a server can test the worker under it.")
def conformance(ctx):
    script = ctx.input or {}
    seen = {"granted": [], "lineage": [entry.id for entry in ctx.assignment.lineage]}
    for action in script.get("actions", []):
        for kind, value in action.items():
            act(ctx, kind, value, seen)
    if ctx.is_decide:
        return Decision.complete_partial(reason="conformance")
    if ctx.is_validate:
        return verdict(ctx, script.get("verdict", {}))
    said = script.get("answer")
    if said is None:
        return Answer(confidence=1, result={
            **seen, "allowance": ctx.allowance, "notes": ctx.notes, "attempt": ctx.attempt,
            "idempotency_key": ctx.idempotency_key, "traceparent": ctx.traceparent,
            "child_traceparent": ctx.child_traceparent()})
    status = said.get("status", "success")
    hand_off = said.get("hand_off")
    return Answer(
        result=said.get("result"), confidence=said.get("confidence"), status=status,
        reason=said.get("reason") or ("" if status == "success" else "no reason was given"),
        inputs_used=said.get("inputs_used", ()),
        hand_off=hand_off and (hand_off["agent"], hand_off.get("input")), ask_human=said.get("ask_human"))


worker.run()
