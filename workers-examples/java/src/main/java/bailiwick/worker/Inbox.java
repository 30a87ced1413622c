package bailiwick.worker;

import bailiwick.v1.Envelope.Usage;
import bailiwick.v1.TaskOuterClass.TurnKind;
import bailiwick.v1.WorkerServiceOuterClass.Assignment;
import bailiwick.v1.WorkerServiceOuterClass.BudgetGrant;
import bailiwick.v1.WorkerServiceOuterClass.Cancel;
import bailiwick.v1.WorkerServiceOuterClass.Complete;
import bailiwick.v1.WorkerServiceOuterClass.Refusal;
import bailiwick.v1.WorkerServiceOuterClass.SessionResponse;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * What the server says on a registered session. What makes no sense is logged and ignored. Everything here needs the
 * worker's lock.
 */
final class Inbox {
    private static final long RETRY_LEAST = 200; // ms, where a Refusal names no wait
    private static final String REFUSED = "the server refused the answer: ";
    private static final Set<String> LOST = Set.of("LEASE_NOT_LIVE", "LEASE_UNKNOWN");

    private final Session session;
    private final Worker worker;

    Inbox(Session session) {
        this.session = session;
        this.worker = session.worker;
    }

    void receive(SessionResponse message) {
        switch (message.getMessageCase()) {
            case ASSIGNMENT -> assigned(message.getAssignment());
            case CANCEL -> cancelled(message.getCancel());
            case BUDGET_GRANT -> granted(message.getBudgetGrant());
            case ACK -> message.getAck().getMessageIdsList().forEach(this::acknowledged);
            case REFUSAL -> refused(message.getRefusal());
            case DRAIN -> {
                Worker.log("the server drains");
                session.leaving = true;
            }
            default -> Worker.log("message from the server ignored: %s", message.getMessageCase());
        }
        worker.changed();
    }

    private void assigned(Assignment assignment) {
        String lease = assignment.getLease();
        if (worker.running.containsKey(lease) || worker.answers.containsKey(lease)) {
            Worker.log("assignment under a lease already held ignored");
            return;
        }
        session.credit = Math.max(session.credit - 1, 0);
        if (lease.isEmpty()) {
            Worker.log("assignment without a lease ignored");
            session.topUp();
        } else if (worker.draining && assignment.getKind() != TurnKind.TURN_KIND_DECIDE) {
            // It crossed our Drain. Said now, another worker can have it; unsaid, it waits for the lease to lapse. A decide
            // turn is never given back: an envelope would mean that the owner did not decide.
            RetryableException why = new RetryableException("the worker is draining and takes nothing new");
            worker.answers.put(lease, Answer.of(why).complete(lease, Usage.getDefaultInstance(), session.limit));
            session.sendAnswer(lease);
        } else {
            worker.start(assignment);
        }
    }

    private void cancelled(Cancel cancel) {
        Attempt attempt = worker.running.get(cancel.getLease());
        if (attempt == null) {
            Worker.log("cancel of a lease not held ignored: %s", cancel.getReason());
        } else if (!attempt.revoked) {
            Worker.log("cancelled: %s turn %d: %s", attempt.assignment.getAgent(), attempt.assignment.getTurn(),
                    cancel.getReason());
            attempt.revoke();
        }
    }

    private void granted(BudgetGrant grant) {
        Attempt attempt = worker.running.get(grant.getLease());
        if (attempt != null) {
            attempt.allowance = Math.max(attempt.allowance, grant.getAllowanceTokens());
        }
        Session.Sent what = session.sent.get(grant.getMessageId());
        if (what != null && what.kind() == Session.Kind.BUDGET) {
            session.sent.remove(grant.getMessageId());
            what.reply().complete(new Session.BudgetReply(grant.getGrantedTokens(), -1));
        }
    }

    private void acknowledged(long id) {
        Session.Sent what = session.sent.get(id);
        if (what == null || what.kind() == Session.Kind.BUDGET) {
            return; // a budget request is answered by its grant
        }
        session.sent.remove(id);
        if (what.kind() == Session.Kind.ANSWER) {
            worker.answers.remove(what.lease());
            session.topUp();
        } else if (what.kind() == Session.Kind.REPORT) {
            worker.reports.remove(what.lease());
        }
    }

    private void refused(Refusal refusal) {
        long id = refusal.getMessageId();
        Worker.log("message %d refused: %s: %s", id, refusal.getReason(), refusal.getMessage());
        boolean lost = LOST.contains(refusal.getReason());
        boolean retry = refusal.getRetryable() && !lost;
        long again = Math.max(Session.millis(refusal.getRetryAfter()), RETRY_LEAST);
        if (id != 0 && id == session.offerId) {
            session.credit = Math.max(session.credit - session.offerSlots, 0);
            later(again, session::topUp);
        }
        Attempt attempt = worker.running.get(refusal.getLease());
        if (lost && attempt != null && !attempt.revoked) {
            attempt.revoke();
        }
        Session.Sent what = session.sent.remove(id);
        if (what == null) {
            return;
        }
        String lease = what.lease();
        switch (what.kind()) {
            case BUDGET -> what.reply().complete(new Session.BudgetReply(0, retry ? again : -1));
            case ANSWER -> {
                if (retry) {
                    later(again, () -> session.sendAnswer(lease));
                } else {
                    refusedForGood(lease, refusal);
                }
            }
            case REPORT -> {
                if (retry) {
                    later(again, () -> session.sendReport(lease));
                } else {
                    worker.reports.remove(lease);
                }
            }
            case USAGE -> {
                if (retry) {
                    later(again, () -> resendUsage(lease));
                }
            }
        }
    }

    /**
     * Drops an answer. Where its lease lives on, the turn would hang on our heartbeats: a FAILED answer that says why
     * takes its place, once.
     */
    private void refusedForGood(String lease, Refusal refusal) {
        Complete answer = worker.answers.remove(lease);
        if (answer == null) {
            return;
        }
        Usage usage = switch (answer.getAnswerCase()) {
            case DECISION -> answer.getDecision().getUsage();
            case VERDICT -> answer.getVerdict().getUsage();
            default -> answer.getEnvelope().getUsage();
        };
        switch (refusal.getReason()) {
            case "LEASE_UNKNOWN" -> { }
            case "LEASE_NOT_LIVE", "ALREADY_ANSWERED" -> worker.keepReport(lease, usage); // what it cost is not lost
            default -> {
                if (!answer.getEnvelope().getReason().startsWith(REFUSED)) {
                    String why = REFUSED + refusal.getReason() + ": " + refusal.getMessage();
                    worker.answers.put(lease, Answer.failed(why).complete(lease, usage, session.limit));
                    session.sendAnswer(lease);
                }
            }
        }
        session.topUp();
    }

    private void resendUsage(String lease) {
        Attempt attempt = worker.running.get(lease);
        if (attempt != null) {
            session.sendUsage(attempt);
        }
    }

    /** Does something on this session, if it is still the current one. */
    private void later(long millis, Runnable what) {
        worker.clock.schedule(() -> {
            synchronized (worker.lock) {
                if (worker.session == session) {
                    what.run();
                }
            }
        }, millis, TimeUnit.MILLISECONDS);
    }
}
