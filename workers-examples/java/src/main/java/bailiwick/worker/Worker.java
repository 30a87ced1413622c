package bailiwick.worker;

import bailiwick.v1.AgentOuterClass.AgentSpec;
import bailiwick.v1.Envelope.Usage;
import bailiwick.v1.TaskOuterClass.TurnKind;
import bailiwick.v1.WorkerServiceOuterClass.Assignment;
import bailiwick.v1.WorkerServiceOuterClass.Complete;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;
import sun.misc.Signal;

/**
 * A Bailiwick worker: name handlers, then {@link #run}. It owns what outlives a session: running attempts, answers the
 * server has not acknowledged, and the worker's own clock over its leases. An answer must never be forgotten before
 * the server says it is durable (or refuses it), and a handler must never run on after its lease has lapsed.
 */
public final class Worker {
    static final long BACKOFF_LEAST = 100; // ms, as all times here
    static final long BACKOFF_MOST = 5_000;
    static final long CALL_TIMEOUT = 10_000;
    static final long REGISTER_TIMEOUT = 5_000;
    private static final long LAPSE_CHECK = 100;
    private static final long LAST_WORDS = 5_000; // after the grace, for acknowledgements
    private static final int MAX_REPORTS = 1000;

    final String addr;
    final String id;
    final int concurrency;
    final List<AgentSpec> agents = new ArrayList<>();
    final ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor(Worker::daemon);
    private final Map<String, Handler> handlers = new HashMap<>();
    private final Semaphore slots; // one permit for every handler that may run; fair, so that nothing starves
    private final ExecutorService threads = Executors.newCachedThreadPool(Worker::daemon);

    /** Guards everything below, and what sessions and attempts say is under it; notified when any of it changes. */
    final Object lock = new Object();
    final Map<String, Attempt> running = new HashMap<>(); // by lease
    final Map<String, Complete> answers = new HashMap<>(); // by lease, until acknowledged or refused for good
    final Map<String, Usage> reports = new HashMap<>(); // last usage of attempts that may not answer, until acknowledged
    Session session; // null while not registered
    Session opening; // the one that is not registered yet, if any
    boolean draining;
    boolean idle; // drained: nothing left to say
    long drainGrace = 30_000;
    long leaseTime; // ms; 0 before the first registration
    private long contact; // nanoTime when the server was last told something on a live session

    public Worker(String addr, String id, int concurrency) {
        this.addr = addr;
        this.id = id.replaceAll("[^A-Za-z0-9._:-]", "-");
        this.concurrency = concurrency;
        slots = new Semaphore(concurrency, true);
    }

    /** A worker as BAILIWICK_ADDR, BAILIWICK_WORKER_ID and BAILIWICK_CONCURRENCY say. */
    public static Worker fromEnv() {
        String concurrency = System.getenv().getOrDefault("BAILIWICK_CONCURRENCY", "");
        return new Worker(System.getenv().getOrDefault("BAILIWICK_ADDR", "127.0.0.1:7400"),
                System.getenv().getOrDefault("BAILIWICK_WORKER_ID", "java-" + host() + "-" + ProcessHandle.current().pid()),
                concurrency.matches("[1-9][0-9]{0,3}") ? Integer.parseInt(concurrency) : 4);
    }

    /** How long running handlers get after SIGTERM. Default 30,000 ms. Call it before run. */
    public Worker drainGrace(long millis) {
        drainGrace = millis;
        return this;
    }

    /** Serves an agent. Call it before run. */
    public Worker handle(String agent, String version, String description, Handler handler) {
        agents.add(AgentSpec.newBuilder().setName(agent).setVersion(version).setDescription(description).build());
        handlers.put(agent, handler);
        return this;
    }

    /** Serves until SIGTERM or SIGINT, drains and ends the process. A second signal ends it at once. */
    public void run() throws InterruptedException {
        for (String name : List.of("TERM", "INT")) {
            Signal.handle(new Signal(name), signal -> signalled());
        }
        clock.scheduleWithFixedDelay(() -> {
            synchronized (lock) {
                checkLapse();
            }
        }, LAPSE_CHECK, LAPSE_CHECK, TimeUnit.MILLISECONDS);
        long wait = BACKOFF_LEAST;
        while (true) {
            long started = System.nanoTime();
            String why = new Session(this).serve();
            if (System.nanoTime() - started > TimeUnit.SECONDS.toNanos(1)) { // a session that lived: begin anew
                wait = BACKOFF_LEAST;
            }
            synchronized (lock) {
                long pause = idle ? 0 : jitter(wait);
                if (!idle) {
                    log("no session with %s (%s); again in %d ms", addr, why, pause);
                }
                for (long left = pause, end = System.nanoTime() + pause * 1_000_000; left > 0 && !idle;
                        left = (end - System.nanoTime()) / 1_000_000) {
                    lock.wait(left);
                }
                if (idle) {
                    int unsaid = running.size() + answers.size() + reports.size();
                    System.exit(unsaid == 0 ? 0 : 1);
                }
            }
            wait = Math.min(2 * wait, BACKOFF_MOST);
        }
    }

    /** Spreads workers out; with leases at stake it leaves time for three tries before they lapse. */
    private long jitter(long wait) {
        long most = running.isEmpty() || leaseTime == 0 ? wait : Math.max(Math.min(wait, leaseTime / 3), BACKOFF_LEAST);
        return Math.min(BACKOFF_LEAST + ThreadLocalRandom.current().nextLong(most), BACKOFF_MOST);
    }

    private void signalled() {
        synchronized (lock) {
            if (draining) {
                Runtime.getRuntime().halt(130);
            }
            draining = true;
            log("draining: %d running, %d to be acknowledged", running.size(), answers.size());
            withSession(Session::sendDrain);
            clock.schedule(this::abandonAll, drainGrace, TimeUnit.MILLISECONDS);
            clock.schedule(this::giveUp, drainGrace + LAST_WORDS, TimeUnit.MILLISECONDS);
            changed();
        }
    }

    /** Stops what the grace did not suffice for. Its leases are live: the failure is still said, for a retry; but never of
     * a decide turn, where it would mean that the owner did not decide. */
    private void abandonAll() {
        synchronized (lock) {
            for (Attempt attempt : running.values()) {
                attempt.outOfTime = true;
                attempt.revoked |= attempt.assignment.getKind() == TurnKind.TURN_KIND_DECIDE;
                attempt.stop();
            }
        }
    }

    private void giveUp() {
        synchronized (lock) {
            log("gave up draining: %d handlers running, %d answers not acknowledged", running.size(), answers.size());
            becomeIdle();
        }
    }

    /** To be called after every change of the state. Needs the lock. */
    void changed() {
        lock.notifyAll();
        if (draining && !idle && running.isEmpty() && answers.isEmpty() && reports.isEmpty()) {
            becomeIdle();
        }
    }

    private void becomeIdle() {
        idle = true;
        lock.notifyAll();
        withSession(Session::finish);
        if (opening != null) {
            opening.cancel("drained");
        }
    }

    /** Notes that the server was told something. A lease that lapsed before stays lapsed: a stopped process that wakes
     * up must not take its own late message for proof of life. Needs the lock. */
    void touch(long at) {
        checkLapse();
        if (leaseTime == 0 || at - contact > 0) {
            contact = at;
        }
    }

    /** The worker's own clock: what the server no longer knows of must not go on. */
    private void checkLapse() {
        if (leaseTime == 0 || System.nanoTime() - contact <= leaseTime * 1_000_000) {
            return;
        }
        for (Attempt attempt : running.values()) {
            if (!attempt.revoked) {
                log("lease of %s turn %d lapsed: stopping", attempt.assignment.getAgent(), attempt.assignment.getTurn());
                attempt.revoke();
            }
        }
    }

    /** Runs an assignment on a thread of its own. Needs the lock. */
    void start(Assignment assignment) {
        Attempt attempt = new Attempt(this, assignment);
        running.put(assignment.getLease(), attempt);
        threads.execute(() -> work(attempt));
    }

    private void work(Attempt attempt) {
        synchronized (lock) {
            attempt.thread = Thread.currentThread();
        }
        try {
            attempt.sleep(0); // a cancel may have come first
            slots.acquire(); // a server may send more than it was asked for: what is too much waits
        } catch (InterruptedException cancelled) {
            finish(attempt, failure(attempt, cancelled));
            return;
        }
        try {
            finish(attempt, call(attempt));
        } finally {
            slots.release(); // after the answer is on its way
        }
    }

    private void finish(Attempt attempt, Answer answer) {
        String lease = attempt.assignment.getLease();
        synchronized (lock) {
            attempt.thread = null;
            Thread.interrupted(); // a cancel that came too late must not hit the thread's next attempt
            running.remove(lease);
            if (attempt.revoked) {
                keepReport(lease, attempt.usage.build());
            } else {
                long limit = session == null ? Session.MAX_MESSAGE : session.limit;
                answers.put(lease, answer.complete(lease, attempt.usage.build(), limit));
                withSession(s -> s.sendAnswer(lease));
            }
            withSession(Session::topUp);
            changed();
        }
    }

    /** Whatever the handler does, there is an answer. */
    private Answer call(Attempt attempt) {
        Handler handler = handlers.get(attempt.assignment.getAgent());
        if (handler == null) {
            return Answer.failed("this worker does not serve agent " + attempt.assignment.getAgent());
        }
        try {
            Answer answer = handler.handle(attempt);
            return answer != null ? answer : Answer.failed("the handler gave no answer");
        } catch (Throwable error) { // an Error too: the other attempts go on
            return failure(attempt, error);
        }
    }

    private static Answer failure(Attempt attempt, Throwable error) {
        return Answer.of(attempt.outOfTime
                ? new RetryableException("the worker shut down before the attempt was done", error) : error);
    }

    /** Usage is owed even where no answer counts. Needs the lock. */
    void keepReport(String lease, Usage usage) {
        if (reports.size() >= MAX_REPORTS) {
            log("usage report of a lost lease dropped: %d are waiting for a server", MAX_REPORTS);
            return;
        }
        reports.put(lease, usage);
        withSession(s -> s.sendReport(lease));
    }

    /** Does something on the session, if there is one. */
    void withSession(Consumer<Session> what) {
        synchronized (lock) {
            if (session != null) {
                what.accept(session);
            }
        }
    }

    /** Does something on the session as soon as there is one; a cancel of the attempt interrupts the wait. */
    <T> T awaitSession(Function<Session, T> what) throws InterruptedException {
        synchronized (lock) {
            while (session == null) {
                lock.wait();
            }
            return what.apply(session);
        }
    }

    private static Thread daemon(Runnable runnable) {
        Thread thread = new Thread(runnable, "bailiwick");
        thread.setDaemon(true);
        return thread;
    }

    private static String host() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException nameless) {
            return "localhost";
        }
    }

    /** One line to stderr. */
    static void log(String format, Object... values) {
        System.err.println(String.format(format, values).replace('\n', ' '));
    }
}
