// The agent that `bailiwick conformance` drives: its input says what to do. Not an example of real work.

import type { ServiceError } from "@grpc/grpc-js";
import { Cause, TaskState } from "../gen/bailiwick/v1/task.js";
import { Answer, Context, Retryable, Verdict, Worker } from "./bailiwick-worker.js";

interface Seen {
  granted: number[];
  children: unknown[];
  lineage: string[];
}

type Action = Partial<{
  usage: { input_tokens?: number; output_tokens?: number };
  progress: { text?: string; partial?: unknown };
  request_budget: number;
  sleep_ms: number;
  lineage: boolean;
  child: { agent: string; goal: string; input?: unknown };
  fail: string;
  fail_retryable: string;
}>;

async function act(ctx: Context, action: Action, seen: Seen): Promise<void> {
  if (action.usage) {
    ctx.usage({ inputTokens: action.usage.input_tokens ?? 0, outputTokens: action.usage.output_tokens ?? 0 });
  } else if (action.progress) ctx.progress(action.progress.text, action.progress.partial);
  else if (action.request_budget !== undefined) seen.granted.push(await ctx.requestBudget(action.request_budget));
  else if (action.sleep_ms !== undefined) await ctx.sleep(action.sleep_ms);
  else if (action.lineage) seen.lineage = (await ctx.lineage()).map((entry) => entry.id);
  else if (action.child) seen.children.push(await child(ctx, action.child));
  else if (action.fail !== undefined) throw new Error(action.fail);
  else if (action.fail_retryable !== undefined) throw new Retryable(action.fail_retryable);
  else throw new Error(`unknown action ${JSON.stringify(action)}`);
}

/** Submits a child for the agent that is named, and waits for it. */
async function child(ctx: Context, wanted: { agent: string; goal: string; input?: unknown }): Promise<unknown> {
  const { agent, goal, input } = wanted;
  let taskId;
  try {
    const start = { $case: "firstAgent" as const, value: agent };
    taskId = await ctx.submitChild({ goal, input, start, owner: agent, termination: { convergence: {} } });
  } catch (error) {
    ctx.check();
    return { refused: (error as ServiceError).code };
  }
  const { outcome } = await ctx.waitFor(taskId);
  return { state: TaskState[outcome!.state], result: outcome!.result };
}

function terms(ctx: Context): unknown {
  const { minConfidence, turnsLeft, acceptance, convergence, bestScore } = ctx.terms;
  return {
    min_confidence: minConfidence, turns_left: turnsLeft, acceptance, patience: convergence?.patience ?? null,
    best_score: bestScore ?? null,
  };
}

function verdict(ctx: Context): Verdict {
  const { agree = true, confidence, reasons = [] } = ctx.input?.verdict ?? {};
  if (agree) return { verdict: "agree", confidence };
  const { author, candidate, criteria } = ctx;
  const seen = [`author ${author}`, `result ${candidate?.result}`, ...criteria.map((c) => `criterion ${c}`)];
  return { verdict: "disagree", confidence, reasons: [...reasons, ...seen] };
}

const worker = new Worker();

worker.agent(
  "conformance",
  async (ctx) => {
    const seen: Seen = { granted: [], children: [], lineage: ctx.assignment.lineage.map((entry) => entry.id) };
    for (const action of ctx.input?.actions ?? []) await act(ctx, action, seen);
    if (ctx.isDecide) {
      const tripped = ctx.trips.map(({ cause, times, evidence }) => `${Cause[cause]} ${times} ${evidence}`);
      return { decision: "completePartial", result: tripped.length ? tripped : undefined, reason: "conformance" };
    }
    if (ctx.isValidate) return verdict(ctx);
    const said = ctx.input?.answer;
    if (said) {
      const { status = "success", result, confidence, reason, inputs_used, hand_off, ask_human, score } = said;
      const why = reason ?? (status === "success" ? "" : "no reason was given");
      const answer: Answer = { status, result, confidence, reason: why, inputsUsed: inputs_used, handOff: hand_off };
      return { ...answer, askHuman: ask_human, score: score ?? undefined };
    }
    const { notes, attempt, idempotencyKey, traceparent, stepId } = ctx.assignment;
    const result = {
      ...seen, allowance: ctx.allowance, notes, attempt, idempotency_key: idempotencyKey, traceparent,
      child_traceparent: ctx.childTraceparent(), step_id: stepId, termination: terms(ctx),
    };
    return { confidence: 1, result };
  },
  { description: "Does what its input says, so that a server can test the worker under it." },
);

await worker.run();
