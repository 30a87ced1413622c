"""A Bailiwick worker: what the author of an agent sees. See README.md; copy the three files bailiwick_*.py.

    worker = Worker()

    @worker.agent("shout")
    def shout(ctx):
        return Answer(result=ctx.input["text"].upper(), confidence=0.9)

    worker.run()

A handler is a plain function, run on a thread of its own: heartbeats are on time whatever it does. It is told to stop
through its context: every call on it raises `Stopped` from then on. Never talks to the server but through the session.
"""

import dataclasses
import logging
import math
import os
import re
import secrets
import signal
import socket
import sys
import threading
from typing import Any, Optional

import grpc
from google.protobuf import json_format, struct_pb2

from bailiwick_session import Session
from bailiwick_wire import MAX_MESSAGE_BYTES, log, pb, say
from bailiwick.v1 import agent_pb2, contract_pb2, event_pb2, plan_pb2, task_pb2, task_service_pb2

MAX_STEP_BYTES = 16 << 10
MAX_JSON_BYTES = 1 << 20
SUBMIT_TASK = "/bailiwick.v1.TaskService/SubmitTask"
GET_TASK = "/bailiwick.v1.TaskService/GetTask"
STEP_KINDS = {"message": 1, "tool_call": 2, "tool_result": 3}
TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})$")


class Retryable(Exception):
    """For a handler to raise when the failure was technical (an outage, a rate limit): another try may do better."""


class Stopped(BaseException):
    """The lease is gone. Not an Exception, so that `except Exception` in a handler does not swallow it: let it pass."""


@dataclasses.dataclass
class Answer:
    """Answers a work turn. `status` is success, partial or failed; `reason` is required with the last two.

    At most one directive: `hand_off=("agent", input)`, `delegate={...}` (a Plan in protobuf's JSON mapping) or
    `ask_human="question"`. Raises ValueError where these do not fit together.
    """

    result: Any = None
    confidence: Optional[float] = None
    status: str = "success"
    reason: str = ""
    inputs_used: tuple = ()
    hand_off: Optional[tuple] = None
    delegate: Optional[dict] = None
    ask_human: Optional[str] = None
    score: Optional[float] = None  # how good the result is, 0 to 1; without it the confidence is taken

    def __post_init__(self):
        if self.status not in ("success", "partial", "failed"):
            raise ValueError("status must be success, partial or failed, not %r" % (self.status,))
        if self.status != "success" and not self.reason:
            raise ValueError("an answer that is %s needs a reason" % self.status)
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError("confidence must be from 0 to 1, not %r" % (self.confidence,))
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError("score must be from 0 to 1, not %r" % (self.score,))
        if sum(d is not None for d in (self.hand_off, self.delegate, self.ask_human)) > 1:
            raise ValueError("an answer carries at most one directive")


class Decision:
    """Answers a decide turn: made by one of the functions below."""

    def __init__(self, message):
        self.message = message

    @classmethod
    def complete_partial(cls, result=None, reason=""):
        """End the task PARTIAL, with this result or the best so far."""
        return cls({"complete_partial": {"result": optional_value(result), "reason": reason}})

    @classmethod
    def escalate(cls, question):
        """Ask a person."""
        return cls({"escalate": {"question": question}})

    @classmethod
    def abort(cls, reason):
        """End the task FAILED."""
        return cls({"abort": {"reason": reason}})

    @classmethod
    def replan(cls, plan=None, agent=None, input=None, reason=""):
        """Go on differently: with a plan (as in `Answer.delegate`) or by giving the task to an agent."""
        if (plan is None) == (agent is None):
            raise ValueError("a re-plan names a plan or an agent, one of them")
        following = {"plan": to_plan(plan)} if plan else {"agent": {"agent": agent, "input": to_value(input)}}
        return cls({"replan": {**following, "reason": reason}})


@dataclasses.dataclass
class Verdict:
    """Answers a validate turn: made by `agree` or `disagree`."""

    agrees: bool
    reasons: tuple = ()
    confidence: Optional[float] = None

    def __post_init__(self):
        if not self.agrees and not self.reasons:
            raise ValueError("a verdict that disagrees needs reasons: its author is told them")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError("confidence must be from 0 to 1, not %r" % (self.confidence,))

    @classmethod
    def agree(cls, confidence=None):
        """The candidate may become the outcome."""
        return cls(True, (), confidence)

    @classmethod
    def disagree(cls, *reasons, confidence=None):
        """The candidate may not become the outcome, and why: words that its author can act on."""
        return cls(False, reasons, confidence)


@dataclasses.dataclass
class Entry:
    """One envelope of the task's history. `id` is for `Answer.inputs_used`."""

    id: str
    turn: int
    agent: str
    step_id: str
    status: str
    result: Any
    confidence: Optional[float]
    reason: str


class Context:
    """What a handler knows and can do under its lease. Every method raises `Stopped` once the lease is gone."""

    def __init__(self, session, attempt):
        a = attempt.assignment
        self._session, self._attempt = session, attempt
        self.assignment = a  # the whole message, for what has no name here (deadline, tracestate...)
        self.task_id, self.turn, self.attempt, self.step_id = a.task_id, a.turn, a.attempt, a.step_id
        self.agent, self.goal, self.notes = a.agent, a.goal, list(a.notes)
        self.input = from_value(a.input)
        self.best_result = from_value(a.best_result)
        self.terms = a.termination  # what will count as done, and what is left: a TerminationTerms
        self.trips = list(a.trips)  # on a decide turn: what tripped, each with its evidence
        self.is_decide = a.kind == task_pb2.TURN_KIND_DECIDE
        self.is_validate = a.kind == task_pb2.TURN_KIND_VALIDATE
        # On a validate turn: what to judge, who wrote it, and what to judge it by.
        self.candidate = to_entry(pb.LineageEntry(agent=a.author, envelope=a.candidate)) if self.is_validate else None
        self.author, self.criteria = a.author, list(a.criteria)
        self.idempotency_key, self.traceparent = a.idempotency_key, a.traceparent
        self.cancelled = attempt.stopped  # a threading.Event

    @property
    def allowance(self):
        """Tokens this attempt may use, grants included."""
        return self._attempt.allowance

    @property
    def spent(self):
        """Tokens reported so far, input and output."""
        usage = self._session.usage(self._attempt)
        return usage.input_tokens + usage.output_tokens

    def check(self):
        """Raises `Stopped` if the lease is gone."""
        if self.cancelled.is_set():
            raise Stopped(self._attempt.stop_reason)

    def sleep(self, seconds):
        """Sleeps; a cancel ends it at once."""
        self.cancelled.wait(seconds)
        self.check()

    def progress(self, text=None, partial=None, kind="message", tool=""):
        """Streams a step (text, cut to 16 KiB) and, if given, the best result so far."""
        self.check()
        message = pb.Progress(lease=self._attempt.lease, partial_result=optional_value(partial))
        if text is not None:
            content = cut(str(text), MAX_STEP_BYTES)
            message.steps.append(event_pb2.WorkStep(kind=STEP_KINDS[kind], tool=tool, content=content))
        self._session.report_progress(message)

    def usage(self, input_tokens=0, output_tokens=0, cached_tokens=0, reasoning_tokens=0, model=""):
        """Adds to what this attempt has used, and reports the sum."""
        tokens = {"input_tokens": input_tokens, "output_tokens": output_tokens,
                  "cached_tokens": cached_tokens, "reasoning_tokens": reasoning_tokens}
        if any(value < 0 for value in tokens.values()):
            raise ValueError("tokens are never given back")
        self._session.add_usage(self._attempt, model=model, **{k: int(v) for k, v in tokens.items()})
        self.check()

    def request_budget(self, tokens, reason=""):
        """Asks for a greater allowance. Returns the tokens granted: all of them, or 0."""
        self.check()
        granted = self._session.request_budget(self._attempt, int(tokens), reason)
        self.check()
        return granted

    def afford(self, tokens):
        """Whether so many more tokens fit the allowance, if need be after asking for more."""
        short = self.spent + tokens - self.allowance
        return short <= 0 or self.request_budget(short) > 0

    def lineage(self):
        """The task's envelopes so far, all of them: fetched where the assignment carries only a part."""
        self.check()
        a = self.assignment
        if a.lineage_total <= len(a.lineage):
            return [to_entry(e) for e in a.lineage]
        entries, token, size = [], "", 100
        while True:
            request = pb.GetLineageRequest(lease=a.lease, page_size=size, page_token=token)
            try:
                page = self._session.call(self._attempt, "GetLineage", request, pb.GetLineageResponse)
            except grpc.RpcError as error:
                # Large envelopes: a page of them does not fit a message.
                if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED or size == 1:
                    raise
                size = -(-size // 10)
                continue
            self.check()
            entries.extend(to_entry(e) for e in page.entries)
            token = page.next_page_token
            if not token:
                return entries

    def submit_child(self, contract):
        """Submits a task (a Contract in protobuf's JSON mapping) under this lease; returns its id.

        It is paid from what this task has left and stopped with it. The same contract under the same attempt gives the same
        child. Raises grpc.RpcError where the server refuses it, such as with BUDGET_TOO_SMALL.
        """
        self.check()
        contract = json_format.ParseDict(contract, contract_pb2.Contract())
        request = task_service_pb2.SubmitTaskRequest(contract=contract, parent_lease=self._attempt.lease)
        response = task_service_pb2.SubmitTaskResponse
        submitted = self._session.call(self._attempt, SUBMIT_TASK, request, response)
        self.check()
        return submitted.task_id

    def wait_for(self, task_id):
        """Waits until a task, such as a child, has ended; returns it whole (`task_pb2.Task`), with its `outcome`."""
        self.check()
        request, seconds = task_service_pb2.GetTaskRequest(task_id=task_id), 0.05
        while True:
            task = self._session.call(self._attempt, GET_TASK, request, task_service_pb2.GetTaskResponse)
            self.check()
            if task.task.HasField("outcome"):
                return task.task
            self.sleep(seconds)
            seconds = min(2.0, seconds * 2)

    def child_traceparent(self):
        """A traceparent for a span of this attempt's own: same trace, new span."""
        return child_traceparent(self.traceparent)


class Worker:
    """Serves agents until SIGTERM or SIGINT. What is not given comes from BAILIWICK_ADDR, _WORKER_ID, _CONCURRENCY."""

    def __init__(self, address=None, worker_id=None, max_concurrency=None, labels=None, drain_seconds=30.0):
        env = os.environ.get
        self.address = address or env("BAILIWICK_ADDR") or "127.0.0.1:7400"
        self.worker_id = worker_id or env("BAILIWICK_WORKER_ID") or "python-%s-%d" % (socket.gethostname(), os.getpid())
        self.max_concurrency = max_concurrency or positive("BAILIWICK_CONCURRENCY", 4)
        self.labels = labels or {}
        self.drain_seconds = drain_seconds
        self._agents = {}
        self._stop = threading.Event()
        self._session = None

    def agent(self, name, description="", version="", input_schema=None, output_schema=None):
        """Declares the decorated function as the agent `name`: Context in, Answer (or Decision, or Verdict) out."""
        spec = {"name": name, "description": description, "version": version}
        schemas = {"input_schema": input_schema, "output_schema": output_schema}
        spec.update({k: v for k, v in schemas.items() if v is not None})

        def declare(handler):
            self._agents[name] = (json_format.ParseDict(spec, agent_pb2.AgentSpec()), handler)
            return handler

        return declare

    def run(self):
        """Serves until told to stop; then drains and returns. A second signal ends the process at once."""
        if not log.handlers:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            log.addHandler(handler)
            log.setLevel(logging.INFO)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
        register = pb.Register(worker_id=self.worker_id, max_concurrency=self.max_concurrency, labels=self.labels,
                               agents=[spec for spec, _ in self._agents.values()])
        self._session = Session(self.address, register, self._start)
        self._session.start()
        self._stop.wait()
        say(logging.INFO, "draining")
        self._session.drain(self.drain_seconds)
        say(logging.INFO, "stopped")

    def stop(self):
        """Makes `run` drain and return."""
        self._stop.set()

    def _on_signal(self, number, _frame):
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()

    def _start(self, attempt):
        threading.Thread(target=self._handle, args=(attempt,), daemon=True).start()

    def _handle(self, attempt):
        complete = pb.Complete(lease=attempt.lease)
        answer = None
        try:
            if attempt.assignment.agent not in self._agents:
                raise Retryable("this worker serves no agent %r" % attempt.assignment.agent)
            _, handler = self._agents[attempt.assignment.agent]
            answer = handler(Context(self._session, attempt))
            fill(complete, answer, self._session.usage(attempt))
            if complete.ByteSize() > MAX_MESSAGE_BYTES - 1024:
                raise ValueError("the answer has %d bytes, which is too much for a message" % complete.ByteSize())
        except BaseException as error:
            stopped = isinstance(error, Stopped)
            if not stopped:
                say(logging.WARNING, "turn %d of task %s failed: %s: %s", attempt.assignment.turn,
                    attempt.assignment.task_id, type(error).__name__, error)
            complete = pb.Complete(lease=attempt.lease)
            complete.envelope.status = 3
            complete.envelope.reason = ("%s: %s" % (type(error).__name__, error))[:1000]
            complete.envelope.retryable = stopped or isinstance(error, Retryable)
            complete.envelope.usage.CopyFrom(self._session.usage(attempt))
        self._session.finish(attempt, complete)


def fill(complete, answer, usage):
    """Writes an Answer, a Decision or a Verdict into a Complete. Raises TypeError or ValueError where that cannot be."""
    if isinstance(answer, Decision):
        complete.decision.MergeFrom(type(complete.decision)(**answer.message))
        complete.decision.usage.CopyFrom(usage)
    elif isinstance(answer, Verdict):
        verdict = complete.verdict
        verdict.verdict = 1 if answer.agrees else 2
        verdict.reasons.extend(cut(reason, 1024) for reason in answer.reasons)
        verdict.usage.CopyFrom(usage)
        if answer.confidence is not None:
            verdict.confidence = answer.confidence
    elif isinstance(answer, Answer):
        envelope = complete.envelope
        envelope.status = ("success", "partial", "failed").index(answer.status) + 1
        envelope.reason = cut(answer.reason, 4096)
        envelope.usage.CopyFrom(usage)
        envelope.inputs_used.extend(answer.inputs_used)
        if answer.confidence is not None:
            envelope.confidence = answer.confidence
        if answer.score is not None:
            envelope.score = answer.score
        if answer.result is not None:
            envelope.result.CopyFrom(to_value(answer.result))
        if answer.hand_off is not None:
            envelope.hand_off.agent = answer.hand_off[0]
            envelope.hand_off.input.CopyFrom(to_value(answer.hand_off[1]))
        if answer.delegate is not None:
            envelope.delegate.plan.CopyFrom(to_plan(answer.delegate))
        if answer.ask_human is not None:
            envelope.ask_human.question = answer.ask_human
    else:
        raise TypeError("a handler returns an Answer, a Decision or a Verdict, not %s" % type(answer).__name__)


def child_traceparent(traceparent):
    """Same trace, new span. Starts a new trace where there is none to continue."""
    match = TRACEPARENT.match(traceparent)
    trace, flags = match.groups() if match else (secrets.token_hex(16), "01")
    return "00-%s-%s-%s" % (trace, secrets.token_hex(8), flags)


def positive(name, default):
    """A whole number above 0 from the environment. Ends the process with a clear line where it is something else."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        sys.exit("%s must be a whole number above 0, not %r" % (name, text))
    return int(text)


def cut(text, limit):
    """The text, at most `limit` bytes of it in UTF-8."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def to_plan(plan):
    """A Plan from its JSON mapping. Raises json_format.ParseError, which names the field."""
    return json_format.ParseDict(plan, plan_pb2.Plan())


def optional_value(item):
    """As `to_value`, but None is absence."""
    return None if item is None else to_value(item)


def to_value(item):
    """A JSON value for the wire, of at most 1 MiB. Raises TypeError or ValueError for what JSON lacks or is too big."""
    value = struct_pb2.Value()
    _write(value, item)
    if value.ByteSize() > MAX_JSON_BYTES:
        raise ValueError("a JSON value has %d bytes encoded; the most is 1 MiB" % value.ByteSize())
    return value


def _write(value, item):
    if item is None:
        value.null_value = 0
    elif isinstance(item, bool):
        value.bool_value = item
    elif isinstance(item, (int, float)):
        if not math.isfinite(item):
            raise ValueError("JSON has no %r" % item)
        value.number_value = item
    elif isinstance(item, str):
        value.string_value = item
    elif isinstance(item, (list, tuple)):
        value.list_value.SetInParent()  # an empty list is a list all the same
        for member in item:
            _write(value.list_value.values.add(), member)
    elif isinstance(item, dict):
        value.struct_value.SetInParent()
        for key, member in item.items():
            if not isinstance(key, str):
                raise TypeError("the keys of a JSON object are strings, not %r" % (key,))
            _write(value.struct_value.fields[key], member)
    else:
        raise TypeError("JSON has no %s" % type(item).__name__)


def from_value(value):
    """A JSON value from the wire. Whole numbers come as int."""
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "list_value":
        return [from_value(v) for v in value.list_value.values]
    if kind == "struct_value":
        return {k: from_value(v) for k, v in value.struct_value.fields.items()}
    return None if kind in (None, "null_value") else getattr(value, kind)


def to_entry(entry):
    """A lineage entry in plain Python."""
    e = entry.envelope
    status = ("unspecified", "success", "partial", "failed")[e.status] if 0 <= e.status <= 3 else "unspecified"
    confidence = e.confidence if e.HasField("confidence") else None
    return Entry(entry.id, entry.turn, entry.agent, entry.step_id, status, from_value(e.result), confidence, e.reason)
