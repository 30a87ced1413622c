package bailiwick.worker;

import bailiwick.v1.WorkerServiceGrpc;
import bailiwick.v1.WorkerServiceOuterClass.BudgetRequest;
import bailiwick.v1.WorkerServiceOuterClass.Credit;
import bailiwick.v1.WorkerServiceOuterClass.Drain;
import bailiwick.v1.WorkerServiceOuterClass.Heartbeat;
import bailiwick.v1.WorkerServiceOuterClass.Progress;
import bailiwick.v1.WorkerServiceOuterClass.Register;
import bailiwick.v1.WorkerServiceOuterClass.Registered;
import bailiwick.v1.WorkerServiceOuterClass.SessionRequest;
import bailiwick.v1.WorkerServiceOuterClass.SessionResponse;
import bailiwick.v1.WorkerServiceOuterClass.UsageReport;
import com.google.protobuf.Duration;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/**
 * One session: one connection, one stream, the numbering of its messages, and what was sent and not yet answered.
 * The order matters: Register before anything else; answers before new credit, so that the server never counts a
 * finished attempt as a running one. Everything but serve needs the worker's lock, and nothing here waits under it.
 */
final class Session implements ClientResponseObserver<SessionRequest, SessionResponse> {
    static final int MAX_MESSAGE = 4 << 20; // bytes
    private static final int MAX_QUEUE = 1024; // messages; progress is dropped beyond it
    private static final int MAX_BUDGET_REASON = 1 << 10; // bytes
    private static final long CLOSE_TIME = 2_000; // ms, for a server that keeps its side open

    /** What a sent message was, for when its Ack or Refusal comes. */
    enum Kind { ANSWER, USAGE, REPORT, BUDGET }

    record Sent(Kind kind, String lease, CompletableFuture<BudgetReply> reply) {}

    /** A grant, or with againMillis >= 0 the wait before asking once more. */
    record BudgetReply(long granted, long againMillis) {}

    final Worker worker;
    final ManagedChannel channel;
    final Map<Long, Sent> sent = new HashMap<>();
    long limit = MAX_MESSAGE; // bytes of a message
    int credit; // given and not yet used up
    long offerId; // the last Credit: a refusal takes it back
    int offerSlots;
    boolean leaving; // the server drains: no more credit

    private final CompletableFuture<String> ended = new CompletableFuture<>();
    private final Queue<SessionRequest> queue = new ArrayDeque<>();
    private final Set<String> held = new HashSet<>(); // leases named in Register
    private final Inbox inbox;
    private ClientCallStreamObserver<SessionRequest> requests;
    private ScheduledFuture<?> heartbeat;
    private boolean registered;
    private boolean closed; // nothing may be sent any more
    private long lastId;
    private long told; // nanoTime of Register
    private int slots; // the most attempts at once here

    Session(Worker worker) {
        this.worker = worker;
        inbox = new Inbox(this);
        channel = NettyChannelBuilder.forTarget(worker.addr).usePlaintext().maxInboundMessageSize(MAX_MESSAGE)
                .keepAliveTime(20, TimeUnit.SECONDS).keepAliveTimeout(5, TimeUnit.SECONDS).build();
    }

    /** Holds the session from the first connect to its end, and says why it ended. */
    String serve() throws InterruptedException {
        ScheduledFuture<?> late = worker.clock.schedule(() -> {
            synchronized (worker.lock) {
                if (!registered) {
                    cancel("no answer to Register");
                }
            }
        }, Worker.REGISTER_TIMEOUT, TimeUnit.MILLISECONDS);
        try {
            synchronized (worker.lock) {
                if (worker.idle) {
                    return "drained";
                }
                worker.opening = this;
                WorkerServiceGrpc.newStub(channel).session(this);
                told = System.nanoTime();
                requests.onNext(register());
            }
            return ended.join();
        } finally {
            late.cancel(false);
            synchronized (worker.lock) {
                worker.opening = null;
            }
            channel.shutdownNow();
            channel.awaitTermination(CLOSE_TIME, TimeUnit.MILLISECONDS);
        }
    }

    /** Names every lease that is still worked under or has an answer on its way. */
    private SessionRequest register() {
        worker.running.forEach((lease, attempt) -> {
            if (!attempt.revoked) {
                held.add(lease);
            }
        });
        held.addAll(worker.answers.keySet());
        return SessionRequest.newBuilder().setMessageId(++lastId).setRegister(Register.newBuilder()
                .setWorkerId(worker.id).addAllAgents(worker.agents).setMaxConcurrency(worker.concurrency)
                .addAllHeldLeases(held)).build();
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<SessionRequest> observer) {
        requests = observer;
        requests.setOnReadyHandler(() -> {
            synchronized (worker.lock) {
                pump();
            }
        });
    }

    @Override
    public void onNext(SessionResponse message) {
        synchronized (worker.lock) {
            if (closed && !worker.idle) {
                return;
            }
            try {
                receive(message);
            } catch (RuntimeException senseless) { // nothing the server says may end the worker
                Worker.log("message from the server ignored: %s", senseless);
            }
        }
    }

    private void receive(SessionResponse message) {
        if (registered) {
            inbox.receive(message);
        } else if (message.hasRegistered()) {
            registered(message.getRegistered());
        } else if (message.hasRefusal()) {
            cancel("registration refused: " + message.getRefusal().getReason() + ": " + message.getRefusal().getMessage());
        } else {
            Worker.log("message before Registered ignored: %s", message.getMessageCase());
        }
    }

    /** Makes the session the worker's current one and says what went unsaid. */
    private void registered(Registered answer) {
        long lease = millis(answer.getLeaseTime());
        long interval = millis(answer.getHeartbeatInterval());
        if (lease <= 0 || interval <= 0) {
            cancel("Registered without lease_time or heartbeat_interval");
            return;
        }
        registered = true;
        Worker.log("registered as %s", worker.id);
        worker.touch(told);
        worker.leaseTime = lease;
        slots = answer.getMaxConcurrency() > 0
                ? Math.min(worker.concurrency, answer.getMaxConcurrency()) : worker.concurrency;
        limit = answer.getMaxMessageBytes() > 0 ? Math.min(limit, answer.getMaxMessageBytes()) : limit;
        worker.session = this;
        worker.opening = null;
        Set<String> live = new HashSet<>(answer.getLiveLeasesList());
        for (Map.Entry<String, Attempt> entry : worker.running.entrySet()) {
            Attempt attempt = entry.getValue();
            if (held.contains(entry.getKey()) && !live.contains(entry.getKey())) {
                attempt.revoke();
            } else if (!attempt.revoked && attempt.used() > 0) {
                sendUsage(attempt);
            }
        }
        new ArrayList<>(worker.answers.keySet()).forEach(this::sendAnswer);
        new ArrayList<>(worker.reports.keySet()).forEach(this::sendReport);
        if (worker.draining) {
            sendDrain();
        }
        topUp();
        heartbeat = worker.clock.scheduleAtFixedRate(this::beat, interval, interval, TimeUnit.MILLISECONDS);
        worker.changed();
    }

    private void beat() {
        synchronized (worker.lock) {
            if (queue.size() < MAX_QUEUE) {
                send(SessionRequest.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()), null);
            }
        }
    }

    @Override
    public void onError(Throwable error) {
        Status status = Status.fromThrowable(error);
        synchronized (worker.lock) {
            Throwable cause = status.getCause(); // a refused connection says so only here
            end(status.getCode() + ": " + status.getDescription() + (cause == null ? "" : ", " + cause.getMessage()));
        }
    }

    @Override
    public void onCompleted() {
        synchronized (worker.lock) {
            end("the server ended the stream");
        }
    }

    /** Ends the session for everyone who waits on it. */
    private void end(String why) {
        closed = true;
        if (heartbeat != null) {
            heartbeat.cancel(false);
        }
        if (worker.session == this) {
            worker.session = null;
        }
        for (Sent message : sent.values()) {
            if (message.reply != null) {
                message.reply.completeExceptionally(new IllegalStateException(why));
            }
        }
        sent.clear();
        worker.changed();
        ended.complete(why);
    }

    void cancel(String why) {
        if (!ended.isDone()) {
            end(why);
            requests.cancel(why, null);
        }
    }

    /** The worker has drained: what is queued goes out, then the sending side closes. */
    void finish() {
        if (closed) {
            return;
        }
        queue.forEach(requests::onNext);
        queue.clear();
        closed = true;
        requests.onCompleted();
        worker.clock.schedule(() -> {
            synchronized (worker.lock) {
                cancel("drained");
            }
        }, CLOSE_TIME, TimeUnit.MILLISECONDS);
    }

    private long send(SessionRequest.Builder request, Sent what) {
        long id = ++lastId;
        if (what != null) {
            sent.put(id, what);
        }
        queue.add(request.setMessageId(id).build());
        pump();
        return id;
    }

    /** Hands over what the stream takes now: what it does not take has not been told to the server. */
    private void pump() {
        while (!closed && registered && requests.isReady() && !queue.isEmpty()) {
            requests.onNext(queue.poll());
            worker.touch(System.nanoTime());
        }
    }

    void sendAnswer(String lease) {
        if (worker.answers.containsKey(lease)) {
            send(SessionRequest.newBuilder().setComplete(worker.answers.get(lease)), new Sent(Kind.ANSWER, lease, null));
        }
    }

    void sendReport(String lease) {
        if (worker.reports.containsKey(lease)) {
            UsageReport.Builder report = UsageReport.newBuilder().setLease(lease).setUsage(worker.reports.get(lease));
            send(SessionRequest.newBuilder().setUsage(report), new Sent(Kind.REPORT, lease, null));
        }
    }

    /** Leaves a report out when the stream is far behind: a later one, or the answer, says more. */
    void sendUsage(Attempt attempt) {
        if (queue.size() < MAX_QUEUE) {
            String lease = attempt.assignment.getLease();
            UsageReport.Builder report = UsageReport.newBuilder().setLease(lease).setUsage(attempt.usage);
            send(SessionRequest.newBuilder().setUsage(report), new Sent(Kind.USAGE, lease, null));
        }
    }

    void sendProgress(Progress progress) {
        if (queue.size() < MAX_QUEUE) {
            send(SessionRequest.newBuilder().setProgress(progress), null);
        }
    }

    void sendDrain() {
        Duration.Builder grace = Duration.newBuilder().setSeconds(worker.drainGrace / 1000)
                .setNanos((int) (worker.drainGrace % 1000) * 1_000_000);
        send(SessionRequest.newBuilder().setDrain(Drain.newBuilder().setGrace(grace)), null);
    }

    CompletableFuture<BudgetReply> askBudget(Attempt attempt, long tokens, String reason) {
        CompletableFuture<BudgetReply> reply = new CompletableFuture<>();
        String lease = attempt.assignment.getLease();
        BudgetRequest.Builder request = BudgetRequest.newBuilder().setLease(lease).setTokens(tokens)
                .setReason(Json.clip(reason, MAX_BUDGET_REASON));
        send(SessionRequest.newBuilder().setBudgetRequest(request), new Sent(Kind.BUDGET, lease, reply));
        return reply;
    }

    /**
     * Gives credit for every slot that is neither in use nor on offer. An answer on its way uses its slot until it is
     * acknowledged or refused for good: so long the server counts the attempt as running.
     */
    void topUp() {
        int free = slots - worker.running.size() - worker.answers.size() - credit;
        if (free > 0 && !worker.draining && !leaving) {
            credit += free;
            offerSlots = free;
            offerId = send(SessionRequest.newBuilder().setCredit(Credit.newBuilder().setSlots(free)), null);
        }
    }

    static long millis(Duration duration) {
        return duration.getSeconds() * 1000 + duration.getNanos() / 1_000_000;
    }
}
