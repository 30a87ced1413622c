"""The session with a Bailiwick server: one stream at a time, kept up for as long as the worker lives.

Holds what must outlive a broken stream: the running attempts, and every message the server has not acknowledged yet.
Never runs an agent's code and never says what an answer is; that is bailiwick_worker.py. One lock guards all state, and
nothing that may wait for the network happens under it.
"""

import itertools
import logging
import random
import threading
import time

import grpc

from bailiwick_wire import (
    CALL_TIMEOUT, CHANNEL_OPTIONS, REGISTER_TIMEOUT, SERVICE, Attempt, Stream, backoff, next_failures, pb, say, seconds)
from bailiwick.v1 import task_pb2

LEASE_GONE = ("LEASE_NOT_LIVE", "LEASE_UNKNOWN")
SETTLED = LEASE_GONE + ("ALREADY_ANSWERED",)  # refusals after which the turn waits for no answer of ours
UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class Session:
    """Keeps a session up. `register` is the Register to send; `on_attempt(attempt)` starts an attempt and returns."""

    def __init__(self, address, register, on_attempt):
        self._address = address
        self._register = register
        self._on_attempt = on_attempt
        self._cond = threading.Condition()
        self._closing = threading.Event()
        self._stream = None
        self._channel = None
        self._attempts = {}  # lease -> Attempt, running
        self._owed = {}  # key -> message the server has not settled; a key is (kind, lease, ...)
        self._tried = set()  # keys of answers that were sent at least once
        self._retries = {}  # key -> when to send it again
        self._grants = {}  # key of a budget request -> tokens granted
        self._numbers = itertools.count()
        self._draining = False
        self._lease_time = 30.0
        self._interval = 10.0
        self._contact = time.monotonic()  # when something last went over a live session
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._stay_connected, self._keep_time)]

    def start(self):
        """Starts to connect; returns at once."""
        for thread in self._threads:
            thread.start()

    # What an attempt asks for.

    def report_progress(self, progress):
        """Sends a Progress if there is a session; it is not kept."""
        with self._cond:
            self._send(("progress", progress.lease), pb.SessionRequest(progress=progress))

    def add_usage(self, attempt, **tokens):
        """Adds to the attempt's cumulative usage and reports it."""
        with self._cond:
            usage = attempt.usage.usage
            usage.model = tokens.pop("model", "") or usage.model
            for name, value in tokens.items():
                setattr(usage, name, getattr(usage, name) + value)
            # A stopped attempt owes its usage only once, when it has ended.
            if attempt.lease in self._attempts and not attempt.stopped.is_set():
                self._owe_usage(attempt.usage)

    def usage(self, attempt):
        """A copy of the attempt's cumulative usage."""
        with self._cond:
            return pb.UsageReport.FromString(attempt.usage.SerializeToString()).usage

    def request_budget(self, attempt, tokens, reason):
        """Asks for more and waits for the answer, over reconnects too. Returns the tokens granted; 0 is a denial."""
        key = ("budget", attempt.lease, next(self._numbers))
        request = pb.BudgetRequest(lease=attempt.lease, tokens=tokens, reason=reason)
        with self._cond:
            self._owe(key, pb.SessionRequest(budget_request=request))
            self._cond.wait_for(lambda: key not in self._owed or attempt.stopped.is_set())
            self._forget(key)
            return self._grants.pop(key, 0)

    def call(self, attempt, method, request, response_type):
        """A unary call (of WorkerService, where no path is given) under the attempt's trace, repeated while the server is out of reach. None once stopped."""
        metadata = [("traceparent", attempt.assignment.traceparent)] if attempt.assignment.traceparent else []
        for failures in itertools.count():
            with self._cond:
                self._cond.wait_for(lambda: self._channel is not None or attempt.stopped.is_set())
                if attempt.stopped.is_set():
                    return None
                path = method if method.startswith("/") else SERVICE + method
                invoke = self._channel.unary_unary(
                    path, type(request).SerializeToString, response_type.FromString)
            try:
                return self._await_call(attempt, invoke.future(request, timeout=CALL_TIMEOUT, metadata=metadata))
            except (grpc.RpcError, ValueError) as error:  # ValueError: the channel was closed under us
                if isinstance(error, grpc.RpcError) and error.code() not in UNREACHABLE:
                    raise
            if attempt.stopped.wait(backoff(failures, random.random())):
                return None

    def _await_call(self, attempt, future):
        future.add_done_callback(lambda _: self._notify())
        with self._cond:
            self._cond.wait_for(lambda: future.done() or attempt.stopped.is_set())
        if attempt.stopped.is_set():
            future.cancel()
            return None
        return future.result()

    def finish(self, attempt, complete):
        """The attempt's code has ended. Sends its answer, or only its usage where the lease was lost meanwhile."""
        with self._cond:
            if not self._attempts.pop(attempt.lease, None):
                return
            self._forget(("usage", attempt.lease))
            if attempt.stopped.is_set() and not attempt.give_back:
                self._owe_usage(attempt.usage)
            else:
                self._owe(("complete", attempt.lease), pb.SessionRequest(complete=complete))
            self._top_up()
            self._cond.notify_all()

    # The end.

    def drain(self, limit):
        """Takes nothing new, lets what runs finish for `limit` seconds, then gives it back; waits for every ack."""
        with self._cond:
            self._draining = True
            grace = pb.Drain()
            grace.grace.FromMilliseconds(int(limit * 1000))
            self._send(("drain",), pb.SessionRequest(drain=grace))
            if not self._cond.wait_for(lambda: not self._attempts and not self._owed, limit):
                for attempt in self._attempts.values():
                    decides = attempt.assignment.kind == task_pb2.TURN_KIND_DECIDE
                    attempt.give_back = not attempt.stopped.is_set() and not decides
                    self._stop(attempt, "the worker is shutting down")
                if not self._cond.wait_for(lambda: not self._attempts, 1.0):
                    self._abandon()
                self._cond.wait_for(lambda: not self._owed, 2.0)
            self._closing.set()
            self._cond.notify_all()
            stream = self._stream
            if stream:
                stream.queue.put(None)  # half-closes; the server then ends the stream
        self._threads[0].join(2.0)
        if stream and stream.call:
            stream.call.cancel()

    # The stream.

    def _stay_connected(self):
        failures = 0
        while not self._closing.is_set():
            stream = Stream()
            try:
                self._run_stream(stream)
                reason = "the server ended the session"
            except grpc.RpcError as error:
                reason = "%s: %s" % (error.code().name, error.details())
            except Exception as error:  # a message nobody foresaw ends the stream, never the worker
                reason = "%s: %s" % (type(error).__name__, error)
            with self._cond:
                self._stream = None
                stream.queue.put(None)  # releases the thread that feeds the stream
                self._cond.notify_all()
            if self._closing.is_set():
                return
            failures = next_failures(failures, stream.registered, time.monotonic() - stream.opened)
            wait = backoff(failures, random.random())
            say(logging.WARNING, "not connected to %s (%s); trying again in %.1fs", self._address, reason, wait)
            self._closing.wait(wait)

    def _run_stream(self, stream):
        with grpc.insecure_channel(self._address, options=CHANNEL_OPTIONS) as channel:
            # Bytes, parsed by us: a message that cannot be parsed must not end the stream.
            method = channel.stream_stream(SERVICE + "Session", pb.SessionRequest.SerializeToString, None)
            with self._cond:
                register = pb.Register()
                register.CopyFrom(self._register)
                running = [a.lease for a in self._attempts.values() if not a.stopped.is_set()]
                register.held_leases.extend(running + [key[1] for key in self._owed if key[0] == "complete"])
                self._stream, self._channel = stream, channel
                self._put(("register",), pb.SessionRequest(register=register))
                self._cond.notify_all()
            stream.call = method(self._outgoing(stream))
            try:
                for raw in stream.call:
                    self._receive(raw)
            finally:
                with self._cond:
                    self._channel = None

    def _outgoing(self, stream):
        while (message := stream.queue.get()) is not None:
            if stream.registered:
                self._contact = time.monotonic()
            yield message

    def _receive(self, raw):
        try:
            message = pb.SessionResponse.FromString(raw)
        except Exception as error:  # the parser's own error type differs between its implementations
            say(logging.WARNING, "ignored a message that cannot be parsed: %s", error)
            return
        kind = message.WhichOneof("message")
        if kind is None:
            say(logging.WARNING, "ignored a message of an unknown kind")
            return
        started = None
        with self._cond:
            self._contact = time.monotonic()
            started = getattr(self, "_on_" + kind)(getattr(message, kind))
            self._cond.notify_all()
        if started:
            self._on_attempt(started)

    def _on_registered(self, registered):
        stream = self._stream
        if stream.registered:
            say(logging.WARNING, "ignored a second Registered")
            return
        stream.registered = True
        self._retries.clear()
        stream.limit = registered.max_concurrency
        self._lease_time = seconds(registered.lease_time, 30.0)
        self._interval = seconds(registered.heartbeat_interval, self._lease_time / 3)
        stream.heartbeat_due = time.monotonic() + self._interval
        say(logging.INFO, "registered as %s", self._register.worker_id)
        for attempt in self._attempts.values():
            if attempt.lease not in registered.live_leases:
                self._stop(attempt, "the server no longer counts the lease as ours")
            elif not attempt.stopped.is_set() and attempt.usage.usage.ByteSize():
                self._owe_usage(attempt.usage, send=False)
        for kind, lease, *_ in list(self._owed):
            # Finished while we were away, too late: nobody can have taken it.
            if kind == "complete" and lease not in registered.live_leases and (kind, lease) not in self._tried:
                self._withdraw(lease, send=False)
        if self._draining:
            self._send(("drain",), pb.SessionRequest(drain=pb.Drain()))
        for key, message in list(self._owed.items()):
            self._send(key, message)
        self._top_up()

    def _on_assignment(self, assignment):
        if not assignment.lease or assignment.lease in self._attempts or ("complete", assignment.lease) in self._owed:
            say(logging.WARNING, "ignored an assignment without a lease of its own")
            return None
        self._stream.credit = max(0, self._stream.credit - 1)
        attempt = Attempt(assignment)
        full = self._draining or self._occupied() >= self._register.max_concurrency
        # A decide turn is never given back: an envelope would mean that the owner did not decide.
        if full and assignment.kind != task_pb2.TURN_KIND_DECIDE:
            why = "the worker is draining" if self._draining else "the worker had given no credit"
            self._give_back(attempt, why)
            return None
        self._attempts[assignment.lease] = attempt
        return attempt

    def _on_cancel(self, cancel):
        attempt = self._attempts.get(cancel.lease)
        if attempt:
            self._stop(attempt, cancel.reason or "cancelled")
        else:
            self._withdraw(cancel.lease)
            self._top_up()

    def _on_budget_grant(self, grant):
        key, _ = self._stream.in_flight.pop(grant.message_id, (None, None))
        attempt = self._attempts.get(grant.lease)
        if attempt:
            attempt.allowance = grant.allowance_tokens
        if key in self._owed:
            self._grants[key] = grant.granted_tokens
            self._forget(key)

    def _on_ack(self, ack):
        for message_id in ack.message_ids:
            key, message = self._stream.in_flight.pop(message_id, (None, None))
            # A usage report may have been overtaken by a later one under the same key; that one is still owed.
            if key and key[0] in ("complete", "usage") and self._owed.get(key) is message:
                self._forget(key)
        self._top_up()

    def _on_drain(self, _drain):
        say(logging.INFO, "the server is draining")
        self._stream.draining = True

    def _on_refusal(self, refusal):
        key, message = self._stream.in_flight.pop(refusal.message_id, (("nothing",), None))
        level = logging.INFO if refusal.retryable else logging.WARNING
        say(level, "%s refused: %s: %s", key[0], refusal.reason, refusal.message)
        if key[0] == "register":
            self._stream.call.cancel()
        elif key[0] == "credit":
            self._stream.credit = max(0, self._stream.credit - message.credit.slots)
            self._retries[("credit",)] = time.monotonic() + seconds(refusal.retry_after, 1.0)
        elif refusal.retryable:
            if key in self._owed:
                self._retries[key] = time.monotonic() + seconds(refusal.retry_after, 1.0)
        else:
            if refusal.reason in LEASE_GONE and len(key) > 1 and key[1] in self._attempts:
                self._stop(self._attempts[key[1]], "the lease is no longer live")
            if key[0] == "complete" and refusal.reason in ("LEASE_NOT_LIVE", "ALREADY_ANSWERED"):
                self._withdraw(key[1])
            self._forget(key)
            if key[0] == "complete" and refusal.reason not in SETTLED:
                self._replace(message.complete, refusal)
            self._top_up()

    # All below: the lock is held.

    def _stop(self, attempt, reason):
        if not attempt.stopped.is_set():
            a = attempt.assignment
            say(logging.INFO, "stopping turn %d of task %s: %s", a.turn, a.task_id, reason)
            attempt.stop_reason = reason
            attempt.stopped.set()
            self._forget(("usage", attempt.lease))

    def _give_back(self, attempt, why):
        envelope = {"status": "STATUS_FAILED", "reason": why, "retryable": True, "usage": attempt.usage.usage}
        complete = pb.Complete(lease=attempt.lease, envelope=envelope)
        self._owe(("complete", attempt.lease), pb.SessionRequest(complete=complete))

    def _abandon(self):
        """Answers for code that does not heed its being stopped; what it still says is no longer heard."""
        for attempt in self._attempts.values():
            if attempt.give_back:
                self._give_back(attempt, "the worker is shutting down")
            else:
                self._owe_usage(attempt.usage)
        self._attempts.clear()

    def _withdraw(self, lease, send=True):
        """An answer that no longer counts: its usage does."""
        message = self._owed.get(("complete", lease))
        if message:
            self._forget(("complete", lease))
            answer = getattr(message.complete, message.complete.WhichOneof("answer"))
            self._owe_usage(pb.UsageReport(lease=lease, usage=answer.usage), send)

    def _replace(self, refused, refusal):
        """An answer the server cannot take leaves the lease live: says so in its place, once, lest the turn hang."""
        reason = "the server refused the answer: "
        answer = getattr(refused, refused.WhichOneof("answer"))
        if not refused.envelope.reason.startswith(reason):
            text = reason + "%s: %s" % (refusal.reason, refusal.message[:1000])
            envelope = {"status": "STATUS_FAILED", "reason": text, "usage": answer.usage}
            complete = pb.Complete(lease=refused.lease, envelope=envelope)
            self._owe(("complete", refused.lease), pb.SessionRequest(complete=complete))

    def _owe_usage(self, report, send=True):
        copy = pb.SessionRequest()
        copy.usage.CopyFrom(report)
        self._owe(("usage", report.lease), copy, send)

    def _owe(self, key, message, send=True):
        self._owed[key] = message
        if send:
            self._send(key, message)

    def _forget(self, key):
        self._owed.pop(key, None)
        self._tried.discard(key)
        self._retries.pop(key, None)

    def _send(self, key, message):
        if self._stream and self._stream.registered:
            self._put(key, message)

    def _put(self, key, message):
        stream = self._stream
        stream.last_id += 1
        if key[0] == "complete":
            self._tried.add(key)
        # A copy, because the same message may be sent again under another id before this one is on the wire.
        numbered = pb.SessionRequest()
        numbered.CopyFrom(message)
        numbered.message_id = stream.last_id
        if key[0] != "heartbeat":
            stream.in_flight[stream.last_id] = (key, message)
        stream.queue.put(numbered)

    def _occupied(self):
        # An answer on its way counts: until its ack, the server counts the attempt as running.
        return len(self._attempts) + sum(key[0] == "complete" for key in self._owed)

    def _top_up(self):
        stream = self._stream
        if not stream or not stream.registered or stream.draining or self._draining or ("credit",) in self._retries:
            return
        most = min(self._register.max_concurrency, stream.limit or self._register.max_concurrency)
        slots = most - self._occupied() - stream.credit
        if slots > 0:
            stream.credit += slots
            self._send(("credit",), pb.SessionRequest(credit=pb.Credit(slots=slots)))

    def _notify(self):
        with self._cond:
            self._cond.notify_all()

    # The clock.

    def _keep_time(self):
        with self._cond:
            while not self._closing.is_set():
                self._cond.wait(max(0.001, self._tick(time.monotonic()) - time.monotonic()))

    def _tick(self, now):
        """Does what is due; returns when to look again. Waking early is harmless."""
        due = [now + 60.0]
        stream = self._stream
        if stream and not stream.registered:
            if stream.call and now - stream.opened >= REGISTER_TIMEOUT:
                stream.call.cancel()
            due.append(max(now + 1.0, stream.opened + REGISTER_TIMEOUT))
        elif stream and stream.registered:
            if now >= stream.heartbeat_due:
                self._send(("heartbeat",), pb.SessionRequest(heartbeat=pb.Heartbeat()))
                # From the plan, not from now, so that delays do not add up; but never two at once.
                stream.heartbeat_due = max(stream.heartbeat_due + self._interval, now + self._interval / 2)
            due.append(stream.heartbeat_due)
            for key in [k for k, at in self._retries.items() if at <= now]:
                del self._retries[key]
                if key in self._owed:
                    self._send(key, self._owed[key])
            self._top_up()
            due.extend(self._retries.values())
        running = [a for a in self._attempts.values() if not a.stopped.is_set()]
        if running and now - self._contact >= self._lease_time:
            for attempt in running:
                self._stop(attempt, "nothing reached the server for the lease time of %gs" % self._lease_time)
        elif running:
            due.append(self._contact + self._lease_time)
        return min(due)
