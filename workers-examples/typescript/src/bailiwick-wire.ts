// What the session is made of: the words of the wire, an attempt, a stream, how long to wait. Decides nothing and sends
// nothing; that is bailiwick-session.ts.

import type * as grpc from "@grpc/grpc-js";
import type { Duration } from "../gen/google/protobuf/duration.js";
import { Status, Usage } from "../gen/bailiwick/v1/envelope.js";
import type { Assignment, Complete, SessionRequest, SessionResponse } from "../gen/bailiwick/v1/worker_service.js";

export const SERVICE = "/bailiwick.v1.WorkerService/";
export const MAX_MESSAGE_BYTES = 4 << 20;
export const REGISTER_TIMEOUT = 5; // seconds from opening a stream to Registered
export const CALL_TIMEOUT = 10; // seconds for a unary call
export const OPTIONS = {
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  // The waiting between connections is ours; a shared pool would bring in the library's own.
  "grpc.use_local_subchannel_pool": 1,
};
/** Logs one line to stderr, whatever the pieces hold. */
export function say(level: "INFO" | "WARNING", text: string): void {
  console.error(`${new Date().toISOString()} ${level} ${text.split(/\s+/).join(" ")}`);
}

/** Seconds to wait after so many failures in a row: 0.1 to 5, the range doubling. `dice` is in [0, 1). */
export function backoff(failures: number, dice: number): number {
  return 0.1 + dice * (Math.min(5, 0.2 * 2 ** Math.min(failures, 10)) - 0.1);
}

/** What the end of a stream, after so many seconds, makes of the count of failures. */
export function nextFailures(failures: number, registered: boolean, lasted: number): number {
  if (registered && lasted > 1) return 0;
  // A session that ends at once is soon tried again, but not at full speed: another worker may have our id.
  return registered ? Math.min(failures + 1, 2) : failures + 1;
}

/** Seconds by a clock that never goes back. */
export const now = (): number => performance.now() / 1000;

/** A Duration in seconds, or the fallback where it is absent or senseless. */
export function seconds(duration: Duration | undefined, fallback: number): number {
  const value = duration ? duration.seconds + duration.nanos / 1e9 : 0;
  return value > 0 ? value : fallback;
}

/** One assignment under its lease. */
export class Attempt {
  readonly lease: string;
  readonly usage = Usage.create();
  allowance: number;
  readonly abort = new AbortController();
  stopReason = "";
  /** Whether a stopped attempt is answered all the same, so that another worker gets it at once. */
  giveBack = false;

  constructor(readonly assignment: Assignment) {
    this.lease = assignment.lease;
    this.allowance = assignment.allowanceTokens;
  }

  get stopped(): boolean {
    return this.abort.signal.aborted;
  }
}

export type Up = NonNullable<SessionRequest["message"]>;

/** A message up, under the key it is kept by until it is settled. */
export interface Sent {
  key: string;
  lease: string;
  message: Up;
}

/** What cannot be parsed, in place of a message: throwing would end the stream. */
export interface Malformed {
  malformed: string;
}

/** One stream and all that ends with it. */
export class Stream {
  readonly opened = now();
  readonly inFlight = new Map<number, Sent>();
  registered = false;
  draining = false; // the server is going away
  lastId = 0;
  credit = 0;
  limit = 0; // the server's own limit on attempts; 0 is none
  heartbeatDue = 0;

  constructor(
    readonly client: grpc.Client,
    readonly call: grpc.ClientDuplexStream<SessionRequest, SessionResponse | Malformed>,
  ) {}
}

/** The report of an attempt's usage so far. */
export function usageOf(lease: string, usage: Usage): Sent {
  // A copy: the attempt goes on adding to its own.
  return { key: `usage:${lease}`, lease, message: { $case: "usage", value: { lease, usage: { ...usage } } } };
}

/** An answer that says FAILED. */
export function failure(lease: string, reason: string, usage: Usage, retryable: boolean): Complete {
  const envelope = {
    status: Status.STATUS_FAILED, result: undefined, confidence: undefined, reason, usage: { ...usage }, inputsUsed: [],
    retryable, directive: undefined, score: undefined,
  };
  return { lease, answer: { $case: "envelope", value: envelope } };
}
