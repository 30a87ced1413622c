package bailiwick.agents;

import bailiwick.v1.ContractOuterClass.Contract;
import bailiwick.v1.ContractOuterClass.Convergence;
import bailiwick.v1.ContractOuterClass.Termination;
import bailiwick.v1.Envelope.Status;
import bailiwick.v1.TaskOuterClass.Outcome;
import bailiwick.v1.TaskOuterClass.TurnKind;
import bailiwick.v1.WorkerServiceOuterClass.LineageEntry;
import bailiwick.v1.WorkerServiceOuterClass.TerminationTerms;
import bailiwick.worker.Answer;
import bailiwick.worker.Attempt;
import bailiwick.worker.Json;
import bailiwick.worker.RetryableException;
import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The agent that `bailiwick conformance` drives: it does exactly what its input says, in order. */
final class Conformance {
    private final Attempt attempt;
    private final List<Object> granted = new ArrayList<>();
    private final List<Object> children = new ArrayList<>();
    private List<String> lineage;

    private Conformance(Attempt attempt) {
        this.attempt = attempt;
        this.lineage = ids(attempt.assignment.getLineageList());
    }

    static Answer follow(Attempt attempt) throws Exception {
        Conformance agent = new Conformance(attempt);
        Map<String, Object> script = Json.object(attempt.input());
        for (Object action : Json.list(script.get("actions"))) {
            for (Map.Entry<String, Object> step : Json.object(action).entrySet()) {
                agent.act(step.getKey(), step.getValue());
            }
        }
        if (attempt.assignment.getKind() == TurnKind.TURN_KIND_DECIDE) {
            return Answer.endPartial(agent.tripped(), "conformance");
        }
        if (attempt.assignment.getKind() == TurnKind.TURN_KIND_VALIDATE) {
            return agent.judge(Json.object(script.get("verdict")));
        }
        return script.get("answer") == null ? agent.observed() : answer(Json.object(script.get("answer")));
    }

    private void act(String action, Object value) throws Exception {
        Map<String, Object> fields = Json.object(value);
        switch (action) {
            case "usage" ->
                attempt.addUsage(Json.whole(fields.get("input_tokens")), Json.whole(fields.get("output_tokens")));
            case "progress" -> attempt.progress(Json.text(fields.get("text")), fields.get("partial"));
            case "request_budget" -> granted.add(attempt.requestBudget(Json.whole(value), "conformance"));
            case "sleep_ms" -> attempt.sleep(Json.whole(value));
            case "lineage" -> lineage = ids(attempt.lineage());
            case "child" -> children.add(child(fields));
            case "fail" -> throw new IllegalStateException(Json.text(value));
            case "fail_retryable" -> throw new RetryableException(Json.text(value));
            default -> throw new IllegalArgumentException("unknown action " + action);
        }
    }

    /** Submits a child for the agent that is named, and waits for it. */
    private Map<String, Object> child(Map<String, Object> wanted) throws InterruptedException {
        String agent = Json.text(wanted.get("agent"));
        Contract contract = Contract.newBuilder().setGoal(Json.text(wanted.get("goal")))
                .setInput(Json.toValue(wanted.get("input"))).setFirstAgent(agent).setOwner(agent)
                .setTermination(Termination.newBuilder().setConvergence(Convergence.getDefaultInstance())).build();
        String id;
        try {
            id = attempt.submitChild(contract);
        } catch (StatusRuntimeException refusal) {
            return Map.of("refused", refusal.getStatus().getCode().value());
        }
        Map<String, Object> ended = new LinkedHashMap<>();
        Outcome outcome = attempt.waitFor(id).getOutcome();
        ended.put("state", outcome.getState().name());
        ended.put("result", Json.fromValue(outcome.getResult()));
        return ended;
    }

    /** What tripped, on a decide turn, a line each. */
    private List<String> tripped() {
        List<String> lines = attempt.trips().stream()
                .map(trip -> trip.getCause().name() + " " + trip.getTimes() + " " + trip.getEvidence()).toList();
        return lines.isEmpty() ? null : lines;
    }

    private Map<String, Object> terms() {
        TerminationTerms terms = attempt.terms();
        Map<String, Object> seen = new LinkedHashMap<>();
        seen.put("min_confidence", terms.getMinConfidence());
        seen.put("turns_left", terms.getTurnsLeft());
        seen.put("acceptance", List.copyOf(terms.getAcceptanceList()));
        seen.put("patience", terms.hasConvergence() ? terms.getConvergence().getPatience() : null);
        seen.put("best_score", terms.hasBestScore() ? terms.getBestScore() : null);
        return seen;
    }

    /** Agrees unless the script says otherwise; the last reasons tell what it has seen. */
    private Answer judge(Map<String, Object> wanted) {
        double confidence = wanted.get("confidence") instanceof Number said ? said.doubleValue() : 1;
        if (!Boolean.FALSE.equals(wanted.get("agree"))) {
            return Answer.agree(confidence);
        }
        List<String> reasons = new ArrayList<>();
        Json.list(wanted.get("reasons")).forEach(reason -> reasons.add(Json.text(reason)));
        reasons.add("author " + attempt.author());
        reasons.add("result " + attempt.candidate().getResult().getStringValue());
        attempt.criteria().forEach(criterion -> reasons.add("criterion " + criterion));
        return Answer.disagree(confidence, reasons);
    }

    /** The answer where the script names none: what this attempt was given and saw. */
    private Answer observed() {
        Map<String, Object> seen = new LinkedHashMap<>();
        seen.put("granted", granted);
        seen.put("allowance", attempt.allowance());
        seen.put("lineage", lineage);
        seen.put("notes", List.copyOf(attempt.assignment.getNotesList()));
        seen.put("attempt", attempt.assignment.getAttempt());
        seen.put("idempotency_key", attempt.assignment.getIdempotencyKey());
        seen.put("traceparent", attempt.traceparent());
        seen.put("child_traceparent", attempt.childTraceparent());
        seen.put("step_id", attempt.assignment.getStepId());
        seen.put("children", children);
        seen.put("termination", terms());
        return Answer.success(seen, 1);
    }

    private static Answer answer(Map<String, Object> wanted) {
        Answer answer = Answer.success(wanted.get("result"), 0);
        answer.envelope.clearConfidence().setReason(Json.text(wanted.get("reason")));
        answer.envelope.setStatus(switch (Json.text(wanted.get("status"))) {
            case "success", "" -> Status.STATUS_SUCCESS;
            case "partial" -> Status.STATUS_PARTIAL;
            case "failed" -> Status.STATUS_FAILED;
            default -> throw new IllegalArgumentException("unknown status " + wanted.get("status"));
        });
        if (wanted.get("confidence") instanceof Number confidence) {
            answer.envelope.setConfidence(confidence.doubleValue());
        }
        if (wanted.get("score") instanceof Number score) {
            answer.score(score.doubleValue());
        }
        Json.list(wanted.get("inputs_used")).forEach(id -> answer.envelope.addInputsUsed(Json.text(id)));
        if (wanted.get("hand_off") instanceof Map<?, ?> handOff) {
            answer.handOff(Json.text(handOff.get("agent")), handOff.get("input"));
        }
        if (wanted.get("ask_human") != null) {
            answer.askHuman(Json.text(wanted.get("ask_human")));
        }
        return answer;
    }

    private static List<String> ids(List<LineageEntry> entries) {
        return entries.stream().map(LineageEntry::getId).toList();
    }
}
