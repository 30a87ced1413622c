// A Bailiwick worker: what the author of an agent sees. See README.md; copy this file and the other two bailiwick-*.ts.
//
// A handler is an async function. It is told to stop through its context: `signal` aborts, and every method throws
// `Stopped` from then on. It shares the event loop with the heartbeats: a long computation must `await ctx.breathe()`
// now and then. Never talks to the server but through the session.

import { type ServiceError, status } from "@grpc/grpc-js";
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { Value } from "../gen/google/protobuf/struct.js";
import { AgentSpec } from "../gen/bailiwick/v1/agent.js";
import { Contract } from "../gen/bailiwick/v1/contract.js";
import {
  Decision as DecisionMessage, Judgement, Status, StatusEnvelope, Usage, Verdict as VerdictMessage,
} from "../gen/bailiwick/v1/envelope.js";
import { WorkStepKind } from "../gen/bailiwick/v1/event.js";
import { Plan } from "../gen/bailiwick/v1/plan.js";
import { Task, Trip, TurnKind } from "../gen/bailiwick/v1/task.js";
import {
  GetTaskRequest, GetTaskResponse, SubmitTaskRequest, SubmitTaskResponse,
} from "../gen/bailiwick/v1/task_service.js";
import {
  Assignment, Complete, GetLineageRequest, GetLineageResponse, LineageEntry, Register, TerminationTerms,
} from "../gen/bailiwick/v1/worker_service.js";
import { Session } from "./bailiwick-session.js";
import { Attempt, MAX_MESSAGE_BYTES, failure, say } from "./bailiwick-wire.js";

const MAX_STEP_BYTES = 16 << 10;
const MAX_JSON_BYTES = 1 << 20;
const SUBMIT_TASK = "/bailiwick.v1.TaskService/SubmitTask";
const GET_TASK = "/bailiwick.v1.TaskService/GetTask";
const STATUSES = { success: Status.STATUS_SUCCESS, partial: Status.STATUS_PARTIAL, failed: Status.STATUS_FAILED };

/** Throw it from a handler when the failure was technical (an outage, a rate limit): another try may do better. */
export class Retryable extends Error {
  override name = "Retryable";
}

/** The lease is gone. Let it pass. */
export class Stopped extends Error {
  override name = "Stopped";
}

/** A plan as authors write it: what is left out has its default. */
export type PlanDraft = Parameters<typeof Plan.fromPartial>[0];

/** A contract as authors write it: what is left out has its default. */
export type ContractDraft = Parameters<typeof Contract.fromPartial>[0];

/** A message type, as the generated code has it. */
interface Wire<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** Answers a work turn. `reason` is required unless `status` is success, the default. At most one directive. */
export interface Answer {
  status?: "success" | "partial" | "failed";
  result?: unknown;
  confidence?: number;
  reason?: string;
  inputsUsed?: string[];
  handOff?: { agent: string; input?: unknown };
  delegate?: PlanDraft;
  askHuman?: string;
  /** How good the result is, 0 to 1: what convergence is judged by. Without it the confidence is taken. */
  score?: number;
}

/** Answers a decide turn. */
export type Decision =
  | { decision: "completePartial"; result?: unknown; reason?: string }
  | { decision: "escalate"; question: string }
  | { decision: "abort"; reason: string }
  | { decision: "replan"; plan: PlanDraft; reason?: string }
  | { decision: "replan"; agent: string; input?: unknown; reason?: string };

/** Answers a validate turn. Reasons are required with "disagree": the author of the candidate is told them. */
export interface Verdict {
  verdict: "agree" | "disagree";
  confidence?: number;
  reasons?: string[];
}

/** What a step inside a turn is. */
export type StepKind = "MESSAGE" | "TOOL_CALL" | "TOOL_RESULT";

export type Handler = (ctx: Context) => Promise<Answer | Decision | Verdict>;

/** What a handler knows and can do under its lease. Every method throws `Stopped` once the lease is gone. */
export class Context {
  /** The whole message, for what has no name here (goal, notes, deadline...). */
  readonly assignment: Assignment;
  /** The input: plain JSON. */
  readonly input: any;

  constructor(private readonly session: Session, private readonly attempt: Attempt) {
    this.assignment = attempt.assignment;
    this.input = this.assignment.input ?? null;
  }

  get isDecide(): boolean {
    return this.assignment.kind === TurnKind.TURN_KIND_DECIDE;
  }
  /** Whether it is a validate turn, which wants a `Verdict` on `candidate` by `criteria`. */
  get isValidate(): boolean {
    return this.assignment.kind === TurnKind.TURN_KIND_VALIDATE;
  }
  /** On a validate turn: the envelope to judge. */
  get candidate(): StatusEnvelope | undefined {
    return this.assignment.candidate;
  }
  /** On a validate turn: the agent that wrote the candidate. */
  get author(): string {
    return this.assignment.author;
  }
  /** On a validate turn: what to judge the candidate by, a sentence each. */
  get criteria(): string[] {
    return this.assignment.criteria;
  }
  /** On a decide turn: what tripped, each with its evidence. */
  get trips(): Trip[] {
    return this.assignment.trips;
  }
  /** On a decide turn: the best result so far. */
  get bestResult(): any {
    return this.assignment.bestResult ?? null;
  }
  /** What will count as done, and what is left: rules, convergence, hops, turns, the best score so far. */
  get terms(): TerminationTerms {
    return this.assignment.termination ?? TerminationTerms.create();
  }
  /** Aborts when the lease is gone: hand it to fetch and the like. */
  get signal(): AbortSignal {
    return this.attempt.abort.signal;
  }
  /** Tokens this attempt may use, grants included. */
  get allowance(): number {
    return this.attempt.allowance;
  }
  /** Tokens reported so far, input and output. */
  get spent(): number {
    return this.attempt.usage.inputTokens + this.attempt.usage.outputTokens;
  }
  /** W3C trace context to continue. */
  get traceparent(): string {
    return this.assignment.traceparent;
  }
  /** A traceparent for a span of this attempt's own: same trace, new span. */
  childTraceparent(): string {
    return childTraceparent(this.traceparent);
  }

  /** Throws `Stopped` if the lease is gone. */
  check(): void {
    if (this.attempt.stopped) throw new Stopped(this.attempt.stopReason);
  }

  /** Lets heartbeats and cancels through: for long computations. */
  async breathe(): Promise<void> {
    await setImmediate();
    this.check();
  }

  /** Sleeps; a cancel ends it at once. */
  async sleep(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.signal }).catch(() => undefined);
    this.check();
  }

  /** Streams a step (text, cut to 16 KiB) and, if given, the best result so far. */
  progress(text?: string, partial?: unknown, kind: StepKind = "MESSAGE", tool = ""): void {
    this.check();
    const step = {
      kind: WorkStepKind[`WORK_STEP_KIND_${kind}`], tool, content: cut(text ?? "", MAX_STEP_BYTES), fingerprint: false,
    };
    const steps = text === undefined ? [] : [step];
    this.session.reportProgress({ lease: this.attempt.lease, steps, partialResult: toJson(partial) });
  }

  /** Adds to what this attempt has used, and reports the sum. */
  usage(more: Partial<Usage>): void {
    const counts = [more.inputTokens, more.outputTokens, more.cachedTokens, more.reasoningTokens];
    if (!counts.every((n) => n === undefined || (Number.isFinite(n) && n >= 0))) throw new Error("tokens are counts");
    this.session.addUsage(this.attempt, more);
    this.check();
  }

  /** Asks for a greater allowance. Gives the tokens granted: all of them, or 0. */
  async requestBudget(tokens: number, reason = ""): Promise<number> {
    this.check();
    const granted = await this.session.requestBudget(this.attempt, Math.ceil(tokens), reason);
    this.check();
    return granted;
  }

  /** Whether so many more tokens fit the allowance, if need be after asking for more. */
  async afford(tokens: number): Promise<boolean> {
    const short = this.spent + tokens - this.allowance;
    return short <= 0 || (await this.requestBudget(short)) > 0;
  }

  /** The task's envelopes so far, all of them: fetched where the assignment carries only a part. */
  async lineage(): Promise<LineageEntry[]> {
    this.check();
    const { lease, lineage, lineageTotal } = this.assignment;
    if (lineageTotal <= lineage.length) return lineage;
    const entries: LineageEntry[] = [];
    let [pageSize, pageToken] = [100, ""];
    for (;;) {
      try {
        const request = { lease, pageSize, pageToken };
        const page = await this.call("GetLineage", GetLineageRequest, request, GetLineageResponse);
        entries.push(...page.entries);
        pageToken = page.nextPageToken;
        if (!pageToken) return entries;
      } catch (error) {
        // Large envelopes: a page of them does not fit a message.
        if ((error as ServiceError).code !== status.RESOURCE_EXHAUSTED || pageSize === 1) throw error;
        pageSize = Math.ceil(pageSize / 10);
      }
    }
  }

  /**
   * Submits a task under this lease, a child, and gives its id. It is paid from what this task has left and stopped with
   * it. The same contract under the same attempt gives the same child. Throws the `ServiceError` of a refusal.
   */
  async submitChild(contract: ContractDraft): Promise<string> {
    this.check();
    const request = { contract: Contract.fromPartial(contract), parentLease: this.attempt.lease };
    return (await this.call(SUBMIT_TASK, SubmitTaskRequest, request, SubmitTaskResponse)).taskId;
  }

  /** Waits until a task, such as a child, has ended, and gives it whole, with its `outcome`. */
  async waitFor(taskId: string): Promise<Task> {
    this.check();
    for (let ms = 50; ; ms = Math.min(2000, ms * 2)) {
      const { task } = await this.call(GET_TASK, GetTaskRequest, { taskId }, GetTaskResponse);
      if (task?.outcome) return task;
      await this.sleep(ms);
    }
  }

  private async call<Q, R>(method: string, ask: Wire<Q>, request: Q, answer: Wire<R>): Promise<R> {
    const encode = (message: Q): Buffer => Buffer.from(ask.encode(message).finish());
    const decode = (bytes: Buffer): R => answer.decode(bytes);
    try {
      const response = await this.session.call(this.attempt, method, request, encode, decode);
      this.check();
      return response;
    } catch (error) {
      this.check();
      throw error;
    }
  }
}

export interface WorkerOptions {
  /** host:port. Default: BAILIWICK_ADDR, else 127.0.0.1:7400. */
  address?: string;
  /** Default: BAILIWICK_WORKER_ID, else one of host and process. */
  workerId?: string;
  /** The most turns at once. Default: BAILIWICK_CONCURRENCY, else 4. */
  maxConcurrency?: number;
  labels?: Record<string, string>;
  /** How long what runs may take to finish on SIGTERM, in seconds. Default 30. */
  drainSeconds?: number;
}

/** Serves agents. */
export class Worker {
  private readonly agents = new Map<string, { spec: AgentSpec; handler: Handler }>();

  constructor(private readonly options: WorkerOptions = {}) {}

  /** Declares an agent. */
  agent(name: string, handler: Handler, spec: Omit<Partial<AgentSpec>, "name"> = {}): void {
    this.agents.set(name, { spec: AgentSpec.fromPartial({ ...spec, name }), handler });
  }

  /** Serves until SIGTERM or SIGINT; then drains and ends the process. A second signal ends it at once. */
  async run(): Promise<never> {
    const env = process.env;
    const register = Register.fromPartial({
      workerId: this.options.workerId ?? (env.BAILIWICK_WORKER_ID || `typescript-${hostname()}-${process.pid}`),
      maxConcurrency: this.options.maxConcurrency ?? positive("BAILIWICK_CONCURRENCY", 4),
      labels: this.options.labels ?? {},
    });
    register.agents = [...this.agents.values()].map(({ spec }) => spec);
    const address = this.options.address ?? (env.BAILIWICK_ADDR || "127.0.0.1:7400");
    const session: Session = new Session(address, register, (attempt) => void this.handle(session, attempt));
    const signalled = new Promise<void>((resolve) => {
      let first = true;
      const onSignal = (_name: NodeJS.Signals, number: number): void => {
        if (!first) process.exit(128 + number);
        first = false;
        resolve();
      };
      process.on("SIGTERM", onSignal);
      process.on("SIGINT", onSignal);
    });
    session.start();
    await signalled;
    say("INFO", "draining");
    await session.drain(this.options.drainSeconds ?? 30);
    say("INFO", "stopped");
    process.exit(0);
  }

  private async handle(session: Session, attempt: Attempt): Promise<void> {
    const { lease, assignment, usage } = attempt;
    let complete: Complete;
    try {
      const handler = this.agents.get(assignment.agent)?.handler;
      if (!handler) throw new Retryable(`this worker serves no agent "${assignment.agent}"`);
      complete = toComplete(lease, await handler(new Context(session, attempt)), usage);
      const bytes = Complete.encode(complete).finish().length;
      if (bytes > MAX_MESSAGE_BYTES - 1024) throw new Error(`the answer has ${bytes} bytes, too much for a message`);
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      const reason = `${error.name}: ${error.message}`;
      const stopped = error instanceof Stopped;
      if (!stopped) say("WARNING", `turn ${assignment.turn} of task ${assignment.taskId} failed: ${reason}`);
      complete = failure(lease, reason.slice(0, 1000), usage, stopped || error instanceof Retryable);
    }
    session.finish(attempt, complete);
  }
}

/** An answer for the wire. Throws where it does not fit together. */
export function toComplete(lease: string, said: Answer | Decision | Verdict, usage: Usage): Complete {
  if (typeof said !== "object" || said === null) {
    throw new TypeError("a handler returns an Answer, a Decision or a Verdict");
  }
  if ("decision" in said) return { lease, answer: { $case: "decision", value: toDecision(said, usage) } };
  if ("verdict" in said) return { lease, answer: { $case: "verdict", value: toVerdict(said, usage) } };
  const how = said.status ?? "success";
  if (how !== "success" && !said.reason) throw new Error(`an answer that is ${how} needs a reason`);
  checkShare("confidence", said.confidence);
  checkShare("score", said.score);
  if ([said.handOff, said.delegate, said.askHuman].filter((d) => d !== undefined).length > 1) {
    throw new Error("an answer carries at most one directive");
  }
  const envelope = StatusEnvelope.create();
  envelope.status = STATUSES[how];
  envelope.result = toJson(said.result);
  envelope.confidence = said.confidence;
  envelope.score = said.score;
  envelope.reason = cut(said.reason ?? "", 4096);
  envelope.usage = { ...usage };
  envelope.inputsUsed = said.inputsUsed ?? [];
  if (said.handOff) envelope.directive = { $case: "handOff", value: toHandOff(said.handOff) };
  if (said.delegate) envelope.directive = { $case: "delegate", value: { plan: Plan.fromPartial(said.delegate) } };
  if (said.askHuman !== undefined) envelope.directive = { $case: "askHuman", value: { question: said.askHuman } };
  return { lease, answer: { $case: "envelope", value: envelope } };
}

function checkShare(name: string, share: number = 0): void {
  if (!(share >= 0 && share <= 1)) throw new Error(`${name} must be from 0 to 1, not ${share}`);
}

function toVerdict(said: Verdict, usage: Usage): VerdictMessage {
  const reasons = (said.reasons ?? []).map((reason) => cut(reason, 1024));
  const agrees = said.verdict === "agree";
  if (!agrees && reasons.length === 0) throw new Error("a verdict that disagrees needs reasons");
  checkShare("confidence", said.confidence);
  const verdict = agrees ? Judgement.JUDGEMENT_AGREE : Judgement.JUDGEMENT_DISAGREE;
  return { verdict, confidence: said.confidence, reasons, usage: { ...usage } };
}

function toDecision(said: Decision, usage: Usage): DecisionMessage {
  const message: DecisionMessage = { usage: { ...usage }, decision: undefined };
  switch (said.decision) {
    case "completePartial": {
      const value = { result: toJson(said.result), reason: said.reason ?? "" };
      message.decision = { $case: "completePartial", value };
      return message;
    }
    case "escalate":
      message.decision = { $case: "escalate", value: { question: said.question } };
      return message;
    case "abort":
      message.decision = { $case: "abort", value: { reason: said.reason } };
      return message;
    case "replan": {
      const next = "plan" in said
        ? { $case: "plan" as const, value: Plan.fromPartial(said.plan) }
        : { $case: "agent" as const, value: toHandOff(said) };
      message.decision = { $case: "replan", value: { next, reason: said.reason ?? "" } };
      return message;
    }
  }
}

function toHandOff(to: { agent: string; input?: unknown }): { agent: string; input: unknown } {
  return { agent: to.agent, input: toJson(to.input) };
}

/** As JSON has it, of at most 1 MiB encoded; undefined stays absent. Throws where JSON cannot say it. */
export function toJson(item: unknown): unknown {
  if (item === undefined) return undefined;
  const text = JSON.stringify(item);
  if (text === undefined) throw new TypeError(`JSON has no ${typeof item}`);
  const json: unknown = JSON.parse(text);
  const bytes = Value.encode(Value.wrap(json)).finish().length;
  if (bytes > MAX_JSON_BYTES) throw new Error(`a JSON value has ${bytes} bytes encoded; the most is 1 MiB`);
  return json;
}

/** Same trace, new span. Starts a new trace where there is none to continue. */
export function childTraceparent(traceparent: string): string {
  const match = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})$/.exec(traceparent);
  return `00-${match?.[1] ?? randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-${match?.[2] ?? "01"}`;
}

/** A whole number above 0 from the environment. Throws where it is something else. */
function positive(name: string, fallback: number): number {
  const text = process.env[name] || String(fallback);
  if (!/^0*[1-9][0-9]*$/.test(text)) throw new RangeError(`${name} must be a whole number above 0, not "${text}"`);
  return Number(text);
}

/** The text, at most `limit` bytes of it in UTF-8. */
function cut(text: string, limit: number): string {
  const bytes = Buffer.from(text);
  // A character cut in two leaves the replacement character at the end.
  return bytes.length <= limit ? text : bytes.subarray(0, limit).toString().replace(/\uFFFD$/, "");
}
