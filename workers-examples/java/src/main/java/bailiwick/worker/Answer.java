package bailiwick.worker;

import bailiwick.v1.Envelope.AskHuman;
import bailiwick.v1.Envelope.CompletePartial;
import bailiwick.v1.Envelope.Decision;
import bailiwick.v1.Envelope.Delegate;
import bailiwick.v1.Envelope.HandOff;
import bailiwick.v1.Envelope.Judgement;
import bailiwick.v1.Envelope.Status;
import bailiwick.v1.Envelope.StatusEnvelope;
import bailiwick.v1.Envelope.Usage;
import bailiwick.v1.Envelope.Verdict;
import bailiwick.v1.PlanOuterClass.Plan;
import bailiwick.v1.WorkerServiceOuterClass.Complete;

/**
 * What a handler gives back: an envelope on a work turn, a decision on a decide turn, a verdict on a validate turn. Usage
 * is filled in by the worker.
 */
public final class Answer {
    static final int MAX_REASON_BYTES = 4 << 10;
    static final int MAX_RESULT_BYTES = 1 << 20;
    private static final int MAX_ERROR_CHARS = 1000;
    private static final int MAX_VERDICT_REASON_BYTES = 1 << 10;

    /** The answer to a work turn, for fields that have no method here; null on a decision or a verdict. */
    public final StatusEnvelope.Builder envelope;
    private final Decision.Builder decision;
    private final Verdict.Builder verdict;

    private Answer(StatusEnvelope.Builder envelope, Decision.Builder decision, Verdict.Builder verdict) {
        this.envelope = envelope;
        this.decision = decision;
        this.verdict = verdict;
    }

    /** The goal of the turn is met. The result is what {@link Json} takes, the confidence 0 to 1. */
    public static Answer success(Object result, double confidence) {
        return new Answer(envelope(Status.STATUS_SUCCESS, result, "").setConfidence(confidence), null, null);
    }

    /** Something useful, not all that was asked; the reason says what is missing. */
    public static Answer partial(Object result, double confidence, String reason) {
        return new Answer(envelope(Status.STATUS_PARTIAL, result, reason).setConfidence(confidence), null, null);
    }

    /** Nothing useful, and why. */
    public static Answer failed(String reason) {
        return new Answer(envelope(Status.STATUS_FAILED, null, reason), null, null);
    }

    /** On a decide turn: what the owner decides. */
    public static Answer decide(Decision.Builder decision) {
        return new Answer(null, decision, null);
    }

    /** On a validate turn: the candidate may become the outcome. The confidence is 0 to 1. */
    public static Answer agree(double confidence) {
        Verdict.Builder verdict = Verdict.newBuilder().setVerdict(Judgement.JUDGEMENT_AGREE);
        return new Answer(null, null, verdict.setConfidence(confidence));
    }

    /** On a validate turn: it may not, and why: words that its author can act on. At least one. */
    public static Answer disagree(double confidence, Iterable<String> reasons) {
        Verdict.Builder verdict = Verdict.newBuilder().setVerdict(Judgement.JUDGEMENT_DISAGREE);
        for (String reason : reasons) {
            verdict.addReasons(Json.clip(reason, MAX_VERDICT_REASON_BYTES));
        }
        return new Answer(null, null, verdict.setConfidence(confidence));
    }

    /** On a decide turn: end the task; a null result means the best one so far. */
    public static Answer endPartial(Object result, String reason) {
        CompletePartial.Builder end = CompletePartial.newBuilder().setReason(Json.clip(reason, MAX_REASON_BYTES));
        if (result != null) {
            end.setResult(Json.toValue(result));
        }
        return decide(Decision.newBuilder().setCompletePartial(end));
    }

    /** Adds to an envelope how good the result is, 0 to 1: what convergence is judged by. Else the confidence is taken. */
    public Answer score(double score) {
        envelope.setScore(score);
        return this;
    }

    /** Adds to an envelope: the named agent goes on with this input. */
    public Answer handOff(String agent, Object input) {
        envelope.setHandOff(HandOff.newBuilder().setAgent(agent).setInput(Json.toValue(input)));
        return this;
    }

    /** Adds to an envelope: run this plan, then give control back. */
    public Answer delegate(Plan plan) {
        envelope.setDelegate(Delegate.newBuilder().setPlan(plan));
        return this;
    }

    /** Adds to an envelope: a person is asked, and the task waits. */
    public Answer askHuman(String question) {
        envelope.setAskHuman(AskHuman.newBuilder().setQuestion(Json.clip(question, MAX_REASON_BYTES)));
        return this;
    }

    /** What a thrown error means: FAILED, its type and its message. */
    static Answer of(Throwable error) {
        String reason = error.getClass().getSimpleName() + ": " + error.getMessage();
        int end = reason.codePointCount(0, reason.length()) > MAX_ERROR_CHARS
                ? reason.offsetByCodePoints(0, MAX_ERROR_CHARS) : reason.length();
        Answer answer = failed(reason.substring(0, end));
        answer.envelope.setRetryable(error instanceof RetryableException);
        return answer;
    }

    /** What goes on the wire. An answer that is too large becomes a FAILED one: the turn must not stay open. */
    Complete complete(String lease, Usage usage, long limit) {
        Complete.Builder complete = Complete.newBuilder().setLease(lease);
        if (decision != null) {
            return complete.setDecision(decision.setUsage(usage)).build();
        }
        if (verdict != null) {
            return complete.setVerdict(verdict.setUsage(usage)).build();
        }
        Complete whole = complete.setEnvelope(envelope.setUsage(usage)).build();
        int size = whole.getSerializedSize();
        int result = envelope.getResult().getSerializedSize();
        if (size < limit - 1024 && result <= MAX_RESULT_BYTES) {
            return whole;
        }
        String reason = String.format("the answer has %d bytes (at most %d), its result %d (at most %d)",
                size, limit, result, MAX_RESULT_BYTES);
        return complete.setEnvelope(failed(reason).envelope.setUsage(usage)).build();
    }

    private static StatusEnvelope.Builder envelope(Status status, Object result, String reason) {
        StatusEnvelope.Builder envelope =
                StatusEnvelope.newBuilder().setStatus(status).setReason(Json.clip(reason, MAX_REASON_BYTES));
        if (result != null) {
            envelope.setResult(Json.toValue(result));
        }
        return envelope;
    }
}
