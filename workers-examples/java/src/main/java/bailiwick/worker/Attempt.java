package bailiwick.worker;

import bailiwick.v1.ContractOuterClass.Contract;
import bailiwick.v1.Envelope.StatusEnvelope;
import bailiwick.v1.Envelope.Usage;
import bailiwick.v1.Event.WorkStep;
import bailiwick.v1.Event.WorkStepKind;
import bailiwick.v1.TaskOuterClass.Task;
import bailiwick.v1.TaskOuterClass.Trip;
import bailiwick.v1.TaskServiceGrpc;
import bailiwick.v1.TaskServiceOuterClass.GetTaskRequest;
import bailiwick.v1.TaskServiceOuterClass.SubmitTaskRequest;
import bailiwick.v1.WorkerServiceGrpc;
import bailiwick.v1.WorkerServiceOuterClass.Assignment;
import bailiwick.v1.WorkerServiceOuterClass.GetLineageRequest;
import bailiwick.v1.WorkerServiceOuterClass.GetLineageResponse;
import bailiwick.v1.WorkerServiceOuterClass.LineageEntry;
import bailiwick.v1.WorkerServiceOuterClass.Progress;
import bailiwick.v1.WorkerServiceOuterClass.TerminationTerms;
import io.grpc.Channel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractBlockingStub;
import io.grpc.stub.MetadataUtils;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * One assignment under its lease: what a handler sees. A cancel interrupts the handler's thread; everything here that
 * waits ends then. Nothing here may wait without watching for it.
 */
public final class Attempt {
    private static final Metadata.Key<String> TRACEPARENT =
            Metadata.Key.of("traceparent", Metadata.ASCII_STRING_MARSHALLER);
    private static final Set<Status.Code> PASSING = Set.of(Status.Code.UNAVAILABLE, Status.Code.CANCELLED,
            Status.Code.DEADLINE_EXCEEDED, Status.Code.RESOURCE_EXHAUSTED);
    private static final int MAX_STEP_BYTES = 16 << 10;
    private static final long LOOK_LEAST = 50; // ms between two looks at a task; doubles
    private static final long LOOK_MOST = 2_000;

    /** The fields as the server sent them. */
    public final Assignment assignment;

    private final Worker worker;
    private final CountDownLatch stopped = new CountDownLatch(1);

    // Under the worker's lock: the use so far, the allowance now, whether an answer would still count, who runs it.
    final Usage.Builder usage = Usage.newBuilder();
    long allowance;
    boolean revoked;
    boolean outOfTime;
    Thread thread;

    Attempt(Worker worker, Assignment assignment) {
        this.worker = worker;
        this.assignment = assignment;
        this.allowance = assignment.getAllowanceTokens();
    }

    /** The input as Map, List, String, Number, Boolean or null. */
    public Object input() {
        return Json.fromValue(assignment.getInput());
    }

    /** Whether to stop at once. */
    public boolean cancelled() {
        return stopped.getCount() == 0;
    }

    /** Waits, unless the attempt is cancelled first. */
    public void sleep(long millis) throws InterruptedException {
        if (stopped.await(millis, TimeUnit.MILLISECONDS)) {
            throw new InterruptedException("the attempt was cancelled");
        }
    }

    /** Says what was done since the last report, and the best result so far (null: none). */
    public void progress(String text, Object partial) {
        WorkStep step = WorkStep.newBuilder().setKind(WorkStepKind.WORK_STEP_KIND_MESSAGE)
                .setContent(Json.clip(text, MAX_STEP_BYTES)).build();
        progress(List.of(step), partial);
    }

    /** Progress with steps of any kind (messages, tool calls and their results), at most 100 of them. */
    public void progress(List<WorkStep> steps, Object partial) {
        Progress.Builder progress = Progress.newBuilder().setLease(assignment.getLease()).addAllSteps(steps);
        if (partial != null) {
            progress.setPartialResult(Json.toValue(partial));
        }
        worker.withSession(session -> {
            if (!revoked) {
                session.sendProgress(progress.build());
            }
        });
    }

    /** Adds tokens to what the attempt has used, and reports the sum. */
    public void addUsage(long input, long output) {
        addUsage(Usage.newBuilder().setInputTokens(input).setOutputTokens(output).build());
    }

    /** The same with all a model says; cached tokens are a part of input, reasoning tokens of output. */
    public void addUsage(Usage more) {
        synchronized (worker.lock) {
            usage.setInputTokens(usage.getInputTokens() + more.getInputTokens())
                    .setOutputTokens(usage.getOutputTokens() + more.getOutputTokens())
                    .setCachedTokens(usage.getCachedTokens() + more.getCachedTokens())
                    .setReasoningTokens(usage.getReasoningTokens() + more.getReasoningTokens());
            if (!more.getModel().isEmpty()) {
                usage.setModel(more.getModel());
            }
            // Without a session nothing is lost: the next one begins with the sum.
            worker.withSession(session -> {
                if (!revoked) {
                    session.sendUsage(this);
                }
            });
        }
    }

    /** Tokens used so far, input and output. */
    public long used() {
        synchronized (worker.lock) {
            return usage.getInputTokens() + usage.getOutputTokens();
        }
    }

    /** Tokens the attempt may use in all. Grows with every grant. */
    public long allowance() {
        synchronized (worker.lock) {
            return allowance;
        }
    }

    /** Asks for more tokens and waits: all of them are granted, or 0. */
    public long requestBudget(long tokens, String reason) throws InterruptedException {
        while (true) {
            sleep(0); // a cancel comes first
            CompletableFuture<Session.BudgetReply> reply =
                    worker.awaitSession(session -> session.askBudget(this, tokens, reason));
            try {
                Session.BudgetReply answer = reply.get();
                if (answer.againMillis() < 0) {
                    return answer.granted();
                }
                sleep(answer.againMillis());
            } catch (ExecutionException broken) {
                continue; // the stream ended before the answer: ask on the next one
            }
        }
    }

    /** Whether so many more tokens may be used; asks for what is missing. */
    public boolean afford(long tokens) throws InterruptedException {
        long missing = used() + tokens - allowance();
        return missing <= 0 || requestBudget(missing, "the work is larger than the allowance") >= missing;
    }

    /** Every envelope of the task so far, fetched where the assignment carries only a part. */
    public List<LineageEntry> lineage() throws InterruptedException {
        if (assignment.getLineageTotal() <= assignment.getLineageCount()) {
            return assignment.getLineageList();
        }
        List<LineageEntry> all = new ArrayList<>();
        GetLineageRequest.Builder request = GetLineageRequest.newBuilder().setLease(assignment.getLease());
        while (true) {
            GetLineageResponse page = call(WorkerServiceGrpc::newBlockingStub, stub -> stub.getLineage(request.build()));
            all.addAll(page.getEntriesList());
            if (page.getNextPageToken().isEmpty()) {
                return all;
            }
            request.setPageToken(page.getNextPageToken());
        }
    }

    /**
     * Submits a task under this attempt's lease and gives its id: a child, paid from what this task has left and stopped
     * with it. The same contract under the same attempt gives the same child. Throws the server's refusal.
     */
    public String submitChild(Contract contract) throws InterruptedException {
        SubmitTaskRequest request =
                SubmitTaskRequest.newBuilder().setContract(contract).setParentLease(assignment.getLease()).build();
        return call(TaskServiceGrpc::newBlockingStub, stub -> stub.submitTask(request)).getTaskId();
    }

    /** Waits until a task, such as a child, has ended, and gives it whole, with its outcome. */
    public Task waitFor(String taskId) throws InterruptedException {
        GetTaskRequest request = GetTaskRequest.newBuilder().setTaskId(taskId).build();
        for (long wait = LOOK_LEAST;; wait = Math.min(2 * wait, LOOK_MOST)) {
            Task task = call(TaskServiceGrpc::newBlockingStub, stub -> stub.getTask(request)).getTask();
            if (task.hasOutcome()) {
                return task;
            }
            sleep(wait);
        }
    }

    /** A call under the attempt's trace, again on the next connection when one breaks: none here has a second effect. */
    private <S extends AbstractBlockingStub<S>, T> T call(Function<Channel, S> stub, Function<S, T> call)
            throws InterruptedException {
        Metadata headers = new Metadata();
        if (!traceparent().isEmpty()) {
            headers.put(TRACEPARENT, traceparent());
        }
        for (long wait = Worker.BACKOFF_LEAST;; wait = Math.min(2 * wait, Worker.BACKOFF_MOST)) {
            sleep(0); // a cancel comes first
            Channel channel = worker.awaitSession(session -> session.channel);
            try {
                return call.apply(stub.apply(channel)
                        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
                        .withDeadlineAfter(Worker.CALL_TIMEOUT, TimeUnit.MILLISECONDS));
            } catch (StatusRuntimeException failed) {
                sleep(0); // a cancel comes first
                if (!PASSING.contains(failed.getStatus().getCode())) {
                    throw failed;
                }
                sleep(wait);
            }
        }
    }

    /** What will count as done, and what is left: rules, convergence, hops, turns, the best score so far. */
    public TerminationTerms terms() {
        return assignment.getTermination();
    }

    /** On a decide turn: what tripped, each with its evidence. */
    public List<Trip> trips() {
        return assignment.getTripsList();
    }

    /** On a validate turn: the envelope to judge. */
    public StatusEnvelope candidate() {
        return assignment.getCandidate();
    }

    /** On a validate turn: the agent that wrote the candidate. */
    public String author() {
        return assignment.getAuthor();
    }

    /** On a validate turn: what to judge the candidate by, a sentence each. */
    public List<String> criteria() {
        return assignment.getCriteriaList();
    }

    /** On a decide turn: the best result so far, as {@link #input}. */
    public Object bestResult() {
        return Json.fromValue(assignment.getBestResult());
    }

    /** The trace to continue: spans made under it hang below this attempt. */
    public String traceparent() {
        return assignment.getTraceparent();
    }

    /** Names a new span below this attempt, for a call to some other service. */
    public String childTraceparent() {
        return Traceparent.child(traceparent());
    }

    /** Tells the handler to stop. Needs the worker's lock. */
    void stop() {
        stopped.countDown();
        if (thread != null) {
            thread.interrupt();
        }
    }

    /** Stops, and sees to it that no answer is sent. Needs the worker's lock. */
    void revoke() {
        revoked = true;
        stop();
    }
}
