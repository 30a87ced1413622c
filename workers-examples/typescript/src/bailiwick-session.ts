// The session with a Bailiwick server: one stream at a time, kept up for as long as the worker lives.
//
// Holds what must outlive a broken stream: the running attempts, and every message the server has not acknowledged yet.
// Never runs an agent's code and never says what an answer is; that is bailiwick-worker.ts.

import * as grpc from "@grpc/grpc-js";
import { setTimeout as sleep } from "node:timers/promises";
import { Usage } from "../gen/bailiwick/v1/envelope.js";
import { TurnKind } from "../gen/bailiwick/v1/task.js";
import {
  Ack, Assignment, BudgetGrant, Cancel, Complete, Progress, Refusal, Register, Registered, SessionRequest,
  SessionResponse,
} from "../gen/bailiwick/v1/worker_service.js";
import {
  Attempt, CALL_TIMEOUT, Malformed, OPTIONS, REGISTER_TIMEOUT, SERVICE, Sent, Stream, backoff, failure,
  nextFailures, now, say, seconds, usageOf,
} from "./bailiwick-wire.js";

const UNREACHABLE = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED, grpc.status.CANCELLED];

/** Keeps a session up. `register` is the Register to send; `onAttempt` starts an attempt and returns. */
export class Session {
  private stream: Stream | undefined;
  private readonly attempts = new Map<string, Attempt>(); // by lease, running
  private readonly owed = new Map<string, Sent>(); // not settled by the server, by key
  private readonly tried = new Set<string>(); // keys of answers that were sent at least once
  private readonly retries = new Map<string, number>(); // key -> when to send it again
  private readonly budgets = new Map<string, { lease: string; resolve: (granted: number) => void }>();
  private readonly waiters = new Set<() => void>();
  private readonly closing = new AbortController();
  private connection: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private numbers = 0;
  private draining = false;
  private leaseTime = 30;
  private interval = 10;
  private contact = now(); // when something last went over a live session

  constructor(
    private readonly address: string,
    private readonly register: Register,
    private readonly onAttempt: (attempt: Attempt) => void,
  ) {}

  /** Starts to connect; returns at once. */
  start(): void {
    this.connection = this.stayConnected();
    this.tick();
  }

  // What an attempt asks for.

  /** Sends a Progress if there is a session; it is not kept. */
  reportProgress(progress: Progress): void {
    this.send({ key: "progress", lease: progress.lease, message: { $case: "progress", value: progress } });
  }

  /** Adds to the attempt's cumulative usage and reports it. */
  addUsage(attempt: Attempt, more: Partial<Usage>): void {
    const usage = attempt.usage;
    for (const field of ["inputTokens", "outputTokens", "cachedTokens", "reasoningTokens"] as const) {
      usage[field] += Math.round(more[field] ?? 0);
    }
    usage.model = more.model || usage.model;
    // A stopped attempt owes its usage only once, when it has ended.
    if (this.attempts.has(attempt.lease) && !attempt.stopped) this.oweUsage(attempt.lease, usage);
  }

  /** Asks for more and waits for the answer, over reconnects too. Gives the tokens granted; 0 is a denial. */
  requestBudget(attempt: Attempt, tokens: number, reason: string): Promise<number> {
    const { lease } = attempt;
    const key = `budget:${lease}:${++this.numbers}`;
    return new Promise((resolve) => {
      if (attempt.stopped) return resolve(0);
      this.budgets.set(key, { lease, resolve });
      this.owe({ key, lease, message: { $case: "budgetRequest", value: { lease, tokens, reason } } });
    });
  }

  /** A unary call (of WorkerService, where no path is given) under the attempt's trace, repeated while the server is out of reach. Rejects once it is stopped. */
  async call<Q, R>(attempt: Attempt, method: string, request: Q, encode: (q: Q) => Buffer, decode: (b: Buffer) => R) {
    for (let failures = 0; ; failures++) {
      try {
        return await this.callOnce(attempt, method, request, encode, decode);
      } catch (error) {
        const { code, details = "" } = error as grpc.ServiceError;
        // A connection that dies under a call is told as INTERNAL here.
        const broken = code === grpc.status.INTERNAL && details.startsWith("Received RST_STREAM");
        if (attempt.stopped || !(broken || UNREACHABLE.includes(code))) throw error;
      }
      await sleep(backoff(failures, Math.random()) * 1000, undefined, { signal: attempt.abort.signal });
    }
  }

  private callOnce<Q, R>(
    attempt: Attempt, method: string, request: Q, encode: (q: Q) => Buffer, decode: (b: Buffer) => R,
  ): Promise<R> {
    const client = this.stream?.client;
    if (!client) return Promise.reject({ code: grpc.status.UNAVAILABLE });
    const metadata = new grpc.Metadata();
    if (attempt.assignment.traceparent) metadata.set("traceparent", attempt.assignment.traceparent);
    return new Promise((resolve, reject) => {
      const { signal } = attempt.abort;
      const deadline = Date.now() + CALL_TIMEOUT * 1000;
      const done = (error: grpc.ServiceError | null, response?: R): void => {
        signal.removeEventListener("abort", cancel);
        if (error) reject(error);
        else resolve(response as R);
      };
      const path = method.startsWith("/") ? method : SERVICE + method;
      const call = client.makeUnaryRequest(path, encode, decode, request, metadata, { deadline }, done);
      const cancel = (): void => call.cancel();
      signal.addEventListener("abort", cancel);
    });
  }

  /** The attempt's code has ended. Sends its answer, or only its usage where the lease was lost meanwhile. */
  finish(attempt: Attempt, complete: Complete): void {
    const { lease } = attempt;
    if (!this.attempts.delete(lease)) return;
    this.forget(`usage:${lease}`);
    if (attempt.stopped && !attempt.giveBack) this.oweUsage(lease, attempt.usage);
    else this.oweAnswer(complete);
    this.topUp();
    this.poke();
  }

  // The end.

  /** Takes nothing new, lets what runs finish for `limit` seconds, then gives it back; waits for every ack. */
  async drain(limit: number): Promise<void> {
    this.draining = true;
    const grace = { seconds: Math.floor(limit), nanos: 0 };
    this.send({ key: "drain", lease: "", message: { $case: "drain", value: { grace } } });
    const idle = (): boolean => this.attempts.size === 0 && this.owed.size === 0;
    if (!(await this.waitFor(idle, limit))) {
      for (const attempt of this.attempts.values()) {
        attempt.giveBack = !attempt.stopped && attempt.assignment.kind !== TurnKind.TURN_KIND_DECIDE;
        this.stop(attempt, "the worker is shutting down");
      }
      if (!(await this.waitFor(() => this.attempts.size === 0, 1))) this.abandon();
      await this.waitFor(idle, 2);
    }
    this.closing.abort();
    clearTimeout(this.timer);
    const stream = this.stream;
    stream?.call.end(); // the server then ends the stream
    await Promise.race([this.connection, sleep(2000, undefined, { ref: false })]);
    stream?.call.cancel();
  }

  /** Answers for code that does not heed its being stopped; what it still says is no longer heard. */
  private abandon(): void {
    for (const { lease, usage, giveBack } of this.attempts.values()) {
      if (giveBack) this.oweAnswer(failure(lease, "the worker is shutting down", usage, true));
      else this.oweUsage(lease, usage);
    }
    this.attempts.clear();
  }

  private async waitFor(done: () => boolean, limit: number): Promise<boolean> {
    const end = now() + limit;
    while (!done() && now() < end) {
      let wake: () => void = () => undefined;
      const changed = new Promise<void>((resolve) => this.waiters.add((wake = resolve)));
      const timer = setTimeout(wake, Math.max(1, (end - now()) * 1000));
      await changed;
      clearTimeout(timer);
      this.waiters.delete(wake);
    }
    return done();
  }

  private poke(): void {
    for (const wake of this.waiters) wake();
  }

  // The stream.

  private async stayConnected(): Promise<void> {
    for (let failures = 0; !this.closing.signal.aborted; ) {
      const client = new grpc.Client(this.address, grpc.credentials.createInsecure(), OPTIONS);
      const stream = this.open(client);
      this.stream = stream;
      const ended = new Promise<grpc.StatusObject>((resolve) => stream.call.on("status", resolve));
      this.put({ key: "register", lease: "", message: { $case: "register", value: this.claim() } });
      const status = await ended;
      this.stream = undefined;
      client.close();
      if (this.closing.signal.aborted) return;
      failures = nextFailures(failures, stream.registered, now() - stream.opened);
      const wait = backoff(failures, Math.random());
      const why = status.code === 0 ? "the server ended the session" : `${grpc.status[status.code]}: ${status.details}`;
      say("WARNING", `not connected to ${this.address} (${why}); trying again in ${wait.toFixed(1)}s`);
      await sleep(wait * 1000, undefined, { signal: this.closing.signal }).catch(() => undefined);
    }
  }

  private open(client: grpc.Client): Stream {
    const encode = (m: SessionRequest): Buffer => Buffer.from(SessionRequest.encode(m).finish());
    const decode = (bytes: Buffer): SessionResponse | Malformed => {
      try {
        return SessionResponse.decode(bytes);
      } catch (error) {
        return { malformed: String(error) };
      }
    };
    const stream = new Stream(client, client.makeBidiStreamRequest(SERVICE + "Session", encode, decode));
    stream.call.on("error", () => undefined); // it comes as a status too
    stream.call.on("data", (message: SessionResponse | Malformed) => {
      if (stream !== this.stream) return;
      this.receive(stream, message);
      this.poke();
    });
    return stream;
  }

  private claim(): Register {
    const running = [...this.attempts.values()].filter((a) => !a.stopped).map((a) => a.lease);
    const answered = [...this.owed.values()].filter((s) => s.message.$case === "complete").map((s) => s.lease);
    return { ...this.register, heldLeases: [...running, ...answered] };
  }

  private receive(stream: Stream, response: SessionResponse | Malformed): void {
    this.contact = now();
    if ("malformed" in response) {
      return say("WARNING", `ignored a message that cannot be parsed: ${response.malformed}`);
    }
    const message = response.message;
    switch (message?.$case) {
      case "registered": return this.onRegistered(stream, message.value);
      case "assignment": return this.onAssignment(stream, message.value);
      case "cancel": return this.onCancel(message.value);
      case "budgetGrant": return this.onBudgetGrant(stream, message.value);
      case "ack": return this.onAck(stream, message.value);
      case "refusal": return this.onRefusal(stream, message.value);
      case "drain":
        stream.draining = true;
        return say("INFO", "the server is draining");
      case undefined: return say("WARNING", "ignored a message of an unknown kind");
    }
  }

  private onRegistered(stream: Stream, registered: Registered): void {
    if (stream.registered) return say("WARNING", "ignored a second Registered");
    stream.registered = true;
    this.retries.clear();
    stream.limit = registered.maxConcurrency;
    this.leaseTime = seconds(registered.leaseTime, 30);
    this.interval = seconds(registered.heartbeatInterval, this.leaseTime / 3);
    stream.heartbeatDue = now() + this.interval;
    say("INFO", `registered as ${this.register.workerId}`);
    for (const attempt of this.attempts.values()) {
      if (!registered.liveLeases.includes(attempt.lease)) {
        this.stop(attempt, "the server no longer counts the lease as ours");
      } else if (!attempt.stopped && attempt.usage.inputTokens + attempt.usage.outputTokens > 0) {
        this.owed.set(`usage:${attempt.lease}`, usageOf(attempt.lease, attempt.usage));
      }
    }
    for (const sent of [...this.owed.values()]) {
      // Finished while we were away, too late: nobody can have taken it.
      const late = !registered.liveLeases.includes(sent.lease) && !this.tried.has(sent.key);
      if (sent.message.$case === "complete" && late) this.withdraw(sent.lease, false);
    }
    if (this.draining) this.send({ key: "drain", lease: "", message: { $case: "drain", value: { grace: undefined } } });
    for (const sent of this.owed.values()) this.send(sent);
    this.topUp();
    this.tick();
  }

  private onAssignment(stream: Stream, assignment: Assignment): void {
    const { lease } = assignment;
    if (!lease || this.attempts.has(lease) || this.owed.has(`complete:${lease}`)) {
      return say("WARNING", "ignored an assignment without a lease of its own");
    }
    stream.credit = Math.max(0, stream.credit - 1);
    const full = this.draining || this.occupied() >= this.register.maxConcurrency;
    // A decide turn is never given back: an envelope would mean that the owner did not decide.
    if (full && assignment.kind !== TurnKind.TURN_KIND_DECIDE) {
      const reason = this.draining ? "the worker is draining" : "the worker had given no credit";
      return this.oweAnswer(failure(lease, reason, Usage.create(), true));
    }
    const attempt = new Attempt(assignment);
    this.attempts.set(lease, attempt);
    this.onAttempt(attempt);
    this.tick();
  }

  private onCancel(cancel: Cancel): void {
    const attempt = this.attempts.get(cancel.lease);
    if (attempt) this.stop(attempt, cancel.reason || "cancelled");
    else this.withdraw(cancel.lease);
    this.topUp();
  }

  private onBudgetGrant(stream: Stream, grant: BudgetGrant): void {
    const key = stream.inFlight.get(grant.messageId)?.key ?? "";
    stream.inFlight.delete(grant.messageId);
    const attempt = this.attempts.get(grant.lease);
    if (attempt) attempt.allowance = grant.allowanceTokens;
    this.budgets.get(key)?.resolve(grant.grantedTokens);
    this.forget(key);
  }

  private onAck(stream: Stream, ack: Ack): void {
    for (const id of ack.messageIds) {
      const sent = stream.inFlight.get(id);
      stream.inFlight.delete(id);
      // A usage report may have been overtaken by a later one under the same key; that one is still owed.
      const settles = sent?.message.$case === "complete" || sent?.message.$case === "usage";
      if (sent && settles && this.owed.get(sent.key)?.message === sent.message) this.forget(sent.key);
    }
    this.topUp();
  }

  private onRefusal(stream: Stream, refusal: Refusal): void {
    const sent = stream.inFlight.get(refusal.messageId);
    stream.inFlight.delete(refusal.messageId);
    const what = sent?.message.$case ?? "a message";
    say(refusal.retryable ? "INFO" : "WARNING", `${what} refused: ${refusal.reason}: ${refusal.message}`);
    if (!sent) return;
    const again = now() + seconds(refusal.retryAfter, 1);
    if (sent.message.$case === "register") {
      stream.call.cancel();
    } else if (sent.message.$case === "credit") {
      stream.credit = Math.max(0, stream.credit - sent.message.value.slots);
      this.retries.set("credit", again);
    } else if (refusal.retryable) {
      if (this.owed.has(sent.key)) this.retries.set(sent.key, again);
    } else {
      this.refusedForGood(sent, refusal);
      this.topUp();
    }
    this.tick();
  }

  private refusedForGood(sent: Sent, refusal: Refusal): void {
    const gone = refusal.reason === "LEASE_NOT_LIVE" || refusal.reason === "LEASE_UNKNOWN";
    const attempt = this.attempts.get(sent.lease);
    if (gone && attempt) this.stop(attempt, "the lease is no longer live");
    if (sent.message.$case === "complete") {
      const answered = refusal.reason === "ALREADY_ANSWERED";
      if (answered || refusal.reason === "LEASE_NOT_LIVE") this.withdraw(sent.lease);
      this.forget(sent.key);
      if (!gone && !answered) this.replace(sent.message.value, refusal);
    } else {
      this.budgets.get(sent.key)?.resolve(0);
      this.forget(sent.key);
    }
  }

  /** An answer the server cannot take leaves the lease live: says so in its place, once, lest the turn hang. */
  private replace(refused: Complete, refusal: Refusal): void {
    const start = "the server refused the answer: ";
    const answer = refused.answer;
    if (answer?.$case === "envelope" && answer.value.reason.startsWith(start)) return;
    const reason = `${start}${refusal.reason}: ${refusal.message.slice(0, 1000)}`;
    this.oweAnswer(failure(refused.lease, reason, answer?.value.usage ?? Usage.create(), false));
  }

  private stop(attempt: Attempt, reason: string): void {
    if (attempt.stopped) return;
    say("INFO", `stopping turn ${attempt.assignment.turn} of task ${attempt.assignment.taskId}: ${reason}`);
    attempt.stopReason = reason;
    this.forget(`usage:${attempt.lease}`);
    for (const [key, budget] of this.budgets) {
      if (budget.lease !== attempt.lease) continue;
      budget.resolve(0);
      this.forget(key);
    }
    attempt.abort.abort();
  }

  /** An answer that no longer counts: its usage does. */
  private withdraw(lease: string, send = true): void {
    const message = this.owed.get(`complete:${lease}`)?.message;
    if (message?.$case !== "complete") return;
    this.forget(`complete:${lease}`);
    const report = usageOf(lease, message.value.answer?.value.usage ?? Usage.create());
    this.owed.set(report.key, report);
    if (send) this.send(report);
  }

  private oweUsage(lease: string, usage: Usage): void {
    this.owe(usageOf(lease, usage));
  }

  private oweAnswer(complete: Complete): void {
    const { lease } = complete;
    this.owe({ key: `complete:${lease}`, lease, message: { $case: "complete", value: complete } });
  }

  private owe(sent: Sent): void {
    this.owed.set(sent.key, sent);
    this.send(sent);
  }

  private forget(key: string): void {
    this.owed.delete(key);
    this.tried.delete(key);
    this.retries.delete(key);
    this.budgets.delete(key);
  }

  private send(sent: Sent): void {
    if (this.stream?.registered) this.put(sent);
  }

  private put(sent: Sent): void {
    const stream = this.stream;
    if (!stream || stream.call.writableEnded) return;
    stream.lastId += 1;
    if (sent.message.$case === "complete") this.tried.add(sent.key);
    if (sent.message.$case !== "heartbeat") stream.inFlight.set(stream.lastId, sent);
    stream.call.write({ messageId: stream.lastId, message: sent.message }, () => {
      if (stream === this.stream && stream.registered) this.contact = now();
    });
  }

  private occupied(): number {
    // An answer on its way counts: until its ack, the server counts the attempt as running.
    const answered = [...this.owed.values()].filter((s) => s.message.$case === "complete").length;
    return this.attempts.size + answered;
  }

  private topUp(): void {
    const stream = this.stream;
    if (!stream?.registered || stream.draining || this.draining || this.retries.has("credit")) return;
    const most = Math.min(this.register.maxConcurrency, stream.limit || this.register.maxConcurrency);
    const slots = most - this.occupied() - stream.credit;
    if (slots <= 0) return;
    stream.credit += slots;
    this.send({ key: "credit", lease: "", message: { $case: "credit", value: { slots, agent: "" } } });
  }

  // The clock.

  /** Does what is due and sets the timer for the next. Being called early is harmless. */
  private tick(): void {
    if (this.closing.signal.aborted) return;
    const at = now();
    const due = [at + 60];
    const stream = this.stream;
    if (stream?.registered) this.tickSession(stream, at, due);
    else if (stream) {
      if (at - stream.opened >= REGISTER_TIMEOUT) stream.call.cancel();
      due.push(Math.max(at + 1, stream.opened + REGISTER_TIMEOUT));
    } else due.push(at + 1);
    const running = [...this.attempts.values()].filter((a) => !a.stopped);
    if (at - this.contact >= this.leaseTime) {
      const reason = `nothing reached the server for the lease time of ${this.leaseTime}s`;
      for (const attempt of running) this.stop(attempt, reason);
    } else if (running.length > 0) {
      due.push(this.contact + this.leaseTime);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tick(), Math.max(1, (Math.min(...due) - now()) * 1000));
  }

  private tickSession(stream: Stream, at: number, due: number[]): void {
    if (at >= stream.heartbeatDue) {
      this.send({ key: "heartbeat", lease: "", message: { $case: "heartbeat", value: {} } });
      const late = at - stream.heartbeatDue;
      if (late > this.interval) {
        say("WARNING", `an agent held the event loop for ${late.toFixed(1)}s: await ctx.breathe() in long work`);
      }
      // From the plan, not from now, so that delays do not add up; but never two at once.
      stream.heartbeatDue = Math.max(stream.heartbeatDue + this.interval, at + this.interval / 2);
    }
    due.push(stream.heartbeatDue);
    for (const [key, when] of this.retries) {
      if (when > at) continue;
      this.retries.delete(key);
      const sent = this.owed.get(key);
      if (sent) this.send(sent);
    }
    this.topUp();
    due.push(...this.retries.values());
  }
}
