"""The agent that `bailiwick conformance` drives: its input says what to do. Not an example of real work."""

import grpc

from bailiwick_worker import Answer, Decision, Retryable, Verdict, Worker, from_value
from bailiwick.v1 import task_pb2

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
    elif kind == "child":
        seen["children"].append(child(ctx, value))
    elif kind == "fail":
        raise RuntimeError(value)
    elif kind == "fail_retryable":
        raise Retryable(value)
    else:
        raise ValueError("unknown action %r" % kind)


def child(ctx, wanted):
    """Submits a child for the agent that is named, and waits for it."""
    contract = {"goal": wanted["goal"], "input": wanted.get("input"), "first_agent": wanted["agent"],
                "owner": wanted["agent"], "termination": {"convergence": {}}}
    try:
        task_id = ctx.submit_child(contract)
    except grpc.RpcError as refusal:
        return {"refused": refusal.code().value[0]}
    outcome = ctx.wait_for(task_id).outcome
    return {"state": task_pb2.TaskState.Name(outcome.state), "result": from_value(outcome.result)}


def terms(ctx):
    t = ctx.terms
    return {"min_confidence": t.min_confidence, "turns_left": t.turns_left, "acceptance": list(t.acceptance),
            "patience": t.convergence.patience if t.HasField("convergence") else None,
            "best_score": t.best_score if t.HasField("best_score") else None}


def tripped(ctx):
    """What tripped, on a decide turn, a line each."""
    lines = ["%s %d %s" % (task_pb2.Cause.Name(trip.cause), trip.times, trip.evidence) for trip in ctx.trips]
    return lines or None


def verdict(ctx, said):
    if said.get("agree", True):
        return Verdict.agree(confidence=said.get("confidence"))
    seen = ["author " + ctx.author, "result " + str(ctx.candidate.result)]
    seen += ["criterion " + criterion for criterion in ctx.criteria]
    return Verdict.disagree(*said.get("reasons", []), *seen, confidence=said.get("confidence"))


@worker.agent("conformance", description="Does what its input says, so that a server can test the worker under it.")
def conformance(ctx):
    script = ctx.input or {}
    seen = {"granted": [], "children": [], "lineage": [entry.id for entry in ctx.assignment.lineage]}
    for action in script.get("actions", []):
        for kind, value in action.items():
            act(ctx, kind, value, seen)
    if ctx.is_decide:
        return Decision.complete_partial(tripped(ctx), reason="conformance")
    if ctx.is_validate:
        return verdict(ctx, script.get("verdict", {}))
    said = script.get("answer")
    if said is None:
        return Answer(confidence=1, result={
            **seen, "allowance": ctx.allowance, "notes": ctx.notes, "attempt": ctx.attempt,
            "idempotency_key": ctx.idempotency_key, "traceparent": ctx.traceparent,
            "step_id": ctx.step_id, "termination": terms(ctx),
            "child_traceparent": ctx.child_traceparent()})
    status = said.get("status", "success")
    hand_off = said.get("hand_off")
    return Answer(
        result=said.get("result"), confidence=said.get("confidence"), score=said.get("score"), status=status,
        reason=said.get("reason") or ("" if status == "success" else "no reason was given"),
        inputs_used=said.get("inputs_used", ()),
        hand_off=hand_off and (hand_off["agent"], hand_off.get("input")), ask_human=said.get("ask_human"))


worker.run()
