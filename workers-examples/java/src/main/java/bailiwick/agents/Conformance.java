package bailiwick.agents;

import bailiwick.v1.Envelope.Status;
import bailiwick.v1.TaskOuterClass.TurnKind;
import bailiwick.v1.WorkerServiceOuterClass.LineageEntry;
import bailiwick.worker.Answer;
import bailiwick.worker.Attempt;
import bailiwick.worker.Json;
import bailiwick.worker.RetryableException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The agent that `bailiwick conformance` drives: it does exactly what its input says, in order. */
final class Conformance {
    private final Attempt attempt;
    private final List<Object> granted = new ArrayList<>();
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
            return Answer.endPartial(null, "conformance");
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
            case "fail" -> throw new IllegalStateException(Json.text(value));
            case "fail_retryable" -> throw new RetryableException(Json.text(value));
            default -> throw new IllegalArgumentException("unknown action " + action);
        }
    }

    /** Agrees unless the script says otherwise; the last reasons tell what it has seen. */
    private Answer judge(Map<String, Object> wanted) {
        double confidence = wanted.get("confidence") instanceof Number said ? said.doubleValue() : 1;
        if (!Boolean.FALSE.equals(wanted.get("agree"))) {
            return Answer.agree(confidence);
        }
        List<String> reasons = new ArrayList<>();
        Json.list(wanted.get("reasons")).forEach(reason -> reasons.add(Json.text(reason)));
        reasons.add("author " + attempt.assignment.getAuthor());
        reasons.add("result " + attempt.assignment.getCandidate().getResult().getStringValue());
        attempt.assignment.getCriteriaList().forEach(criterion -> reasons.add("criterion " + criterion));
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
