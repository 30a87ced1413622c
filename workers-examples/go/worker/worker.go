// Package worker is a Bailiwick worker in Go: register handlers by agent name, then Main.
//
// The Worker here owns what outlives a session: running attempts, answers the server has not acknowledged, and the
// worker's own clock over its leases. An answer must never be forgotten before the server says it is durable (or
// refuses it), and a handler must never run on after its lease has lapsed.
package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	pb "bailiwick.example/go/gen/bailiwick/v1"
	"google.golang.org/protobuf/proto"
)

const (
	backoffLeast     = 100 * time.Millisecond
	backoffMost      = 5 * time.Second
	callTimeout      = 10 * time.Second
	registerTimeout  = 5 * time.Second
	lookLeast        = 50 * time.Millisecond // between two looks at a task; doubles
	lookMost         = 2 * time.Second
	lapseCheck       = 100 * time.Millisecond
	lastWords        = 5 * time.Second // after the grace: for acknowledgements
	maxMessage       = 4 << 20         // bytes
	maxResult        = 1 << 20         // bytes
	headroom         = 1 << 10         // bytes of a message beside the envelope
	maxReason        = 4 << 10         // bytes
	maxVerdictReason = 1 << 10         // bytes
	maxStep          = 16 << 10        // bytes
	maxErrorRunes    = 1000
	maxBudgetReason  = 1 << 10 // bytes
	maxReports       = 1000    // usage reports kept while there is no server
	maxQueue         = 1024    // messages; progress is dropped beyond it
)

var (
	errLapsed   = errors.New("the lease has lapsed")
	errDraining = errors.New("the worker is draining and takes nothing new")
	errLost     = errors.New("the lease is no longer live")
	errGrace    = Retryable(errors.New("the worker shut down before the attempt was done"))
)

// Options of a worker. The zero value of a field means its default.
type Options struct {
	Addr        string        // host:port of the server; default 127.0.0.1:7400
	ID          string        // kept over reconnects; default go-<hostname>-<pid>
	Concurrency int           // attempts at once; default 4
	DrainGrace  time.Duration // for running handlers after SIGTERM; default 30s
}

// FromEnv reads BAILIWICK_ADDR, BAILIWICK_WORKER_ID and BAILIWICK_CONCURRENCY.
func FromEnv() Options {
	concurrency, _ := strconv.Atoi(os.Getenv("BAILIWICK_CONCURRENCY")) // unreadable means the default
	return Options{Addr: os.Getenv("BAILIWICK_ADDR"), ID: os.Getenv("BAILIWICK_WORKER_ID"), Concurrency: concurrency}
}

// Worker serves its agents over one session at a time, for ever.
type Worker struct {
	opts     Options
	agents   []*pb.AgentSpec
	handlers map[string]Handler
	slots    chan struct{} // holds one token for every handler that runs
	idle     chan struct{} // closed when a draining worker has nothing left to say

	mu        sync.Mutex
	running   map[string]*Attempt     // by lease
	answers   map[string]*pb.Complete // by lease, until acknowledged or refused for good
	reports   map[string]*pb.Usage    // last usage of attempts that may not answer, until acknowledged
	session   *session                // nil while not registered
	changed   chan struct{}           // closed, and replaced, when session changes
	draining  bool
	leaseTime time.Duration
	contact   time.Time // when the server was last told something on a live session
}

// New makes a worker without agents.
func New(o Options) *Worker {
	host, _ := os.Hostname() // without one, the pid alone names the worker
	o.Addr = or(o.Addr, "127.0.0.1:7400")
	o.ID = or(o.ID, fmt.Sprintf("go-%s-%d", host, os.Getpid()))
	o.ID = regexp.MustCompile(`[^A-Za-z0-9._:-]`).ReplaceAllString(o.ID, "-")
	o.Concurrency = or(max(o.Concurrency, 0), 4)
	o.DrainGrace = or(o.DrainGrace, 30*time.Second)
	return &Worker{opts: o, handlers: map[string]Handler{}, slots: make(chan struct{}, o.Concurrency),
		idle: make(chan struct{}), running: map[string]*Attempt{}, answers: map[string]*pb.Complete{},
		reports: map[string]*pb.Usage{}, changed: make(chan struct{})}
}

func or[T comparable](value, fallback T) T {
	if value == *new(T) {
		return fallback
	}
	return value
}

// Handle serves an agent. Call it before Run.
func (w *Worker) Handle(name, version, description string, h Handler) {
	w.agents = append(w.agents, &pb.AgentSpec{Name: name, Version: version, Description: description})
	w.handlers[name] = h
}

// Main runs until SIGTERM or SIGINT, drains and returns. A second signal exits at once.
func (w *Worker) Main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(130)
	}()
	if err := w.Run(ctx); err != nil {
		w.log("%v", err)
		os.Exit(1)
	}
}

// Run serves until ctx ends, then drains: nothing new, running handlers finish, answers are acknowledged. The error
// says what could not be said to the server in time.
func (w *Worker) Run(ctx context.Context) error {
	drained := make(chan error, 1)
	go func() { drained <- w.drain(ctx) }()
	done, stop := context.WithCancel(context.Background())
	defer stop()
	go w.watchLeases(done)
	wait := backoffLeast
	for {
		started := time.Now()
		err := w.serve()
		select {
		case <-w.idle:
			return <-drained
		default:
		}
		if time.Since(started) > time.Second { // a session that lived: begin anew
			wait = backoffLeast
		}
		pause := w.jitter(wait)
		w.log("no session with %s (%v); again in %s", w.opts.Addr, err, pause.Round(time.Millisecond))
		select {
		case <-w.idle:
			return <-drained
		case <-time.After(pause):
		}
		wait = min(2*wait, backoffMost)
	}
}

// jitter spreads workers out; with leases at stake it leaves time for three tries before they lapse.
func (w *Worker) jitter(wait time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.running) > 0 && w.leaseTime > 0 {
		wait = max(min(wait, w.leaseTime/3), backoffLeast)
	}
	return min(backoffLeast+rand.N(wait), backoffMost)
}

// drain waits for ctx, then for the work to end, and closes idle: Run's loop has then nothing left to do.
func (w *Worker) drain(ctx context.Context) error {
	<-ctx.Done()
	defer close(w.idle)
	w.mu.Lock()
	w.draining = true
	w.log("draining: %d running, %d to be acknowledged", len(w.running), len(w.answers))
	if w.session != nil {
		w.session.sendDrain(w.opts.DrainGrace)
	}
	w.mu.Unlock()
	grace, limit := time.After(w.opts.DrainGrace), time.After(w.opts.DrainGrace+lastWords)
	for {
		w.mu.Lock()
		running, unsaid := len(w.running), len(w.answers)+len(w.reports)
		w.mu.Unlock()
		if running+unsaid == 0 {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-grace:
			w.abandonAll()
		case <-limit:
			return fmt.Errorf("gave up draining: %d handlers running, %d answers not acknowledged", running, unsaid)
		}
	}
}

// watchLeases is the worker's own clock: what the server no longer knows of must not go on.
func (w *Worker) watchLeases(ctx context.Context) {
	ticker := time.NewTicker(lapseCheck)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			w.mu.Lock()
			w.checkLapse(now)
			w.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// checkLapse needs w.mu.
func (w *Worker) checkLapse(now time.Time) {
	if w.leaseTime == 0 || now.Sub(w.contact) <= w.leaseTime {
		return
	}
	for _, a := range w.running {
		if !a.revoked {
			w.log("lease of %s turn %d lapsed: stopping", a.GetAgent(), a.GetTurn())
			a.revoke(errLapsed)
		}
	}
}

// touch notes that the server was told something. A lease that lapsed before stays lapsed: a stopped process that wakes
// up must not take its own late message for proof of life.
func (w *Worker) touch(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkLapse(now)
	w.contact = now
}

// revoke needs w.mu.
func (a *Attempt) revoke(cause error) {
	a.revoked = true
	a.stop(cause)
}

// abandonAll stops what the grace did not suffice for. Its leases are live: the failure is still said, for a retry; but
// never of a decide turn, where it would mean that the owner did not decide.
func (w *Worker) abandonAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.running {
		a.revoked = a.revoked || a.GetKind() == pb.TurnKind_TURN_KIND_DECIDE
		a.stop(errGrace)
	}
}

// start needs w.mu.
func (w *Worker) start(assignment *pb.Assignment) {
	ctx, stop := context.WithCancelCause(context.Background())
	a := &Attempt{Assignment: assignment, worker: w, ctx: ctx, stop: stop, usage: &pb.Usage{},
		allowance: assignment.GetAllowanceTokens()}
	w.running[assignment.GetLease()] = a
	go w.work(a)
}

func (w *Worker) work(a *Attempt) {
	var answer *Answer
	var err error
	select { // a server may send more than it was asked for: what is too much waits
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }() // after the answer is on its way
		answer, err = w.call(a)
	case <-a.ctx.Done():
		err = context.Cause(a.ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer a.stop(nil)
	lease := a.GetLease()
	delete(w.running, lease)
	limit := int64(maxMessage)
	if w.session != nil {
		limit = w.session.limit
	}
	switch {
	case !a.revoked:
		if err != nil && context.Cause(a.ctx) == errGrace {
			err = errGrace
		}
		w.answers[lease] = a.complete(answer, err, limit)
		if w.session != nil {
			w.session.sendAnswer(lease)
		}
	default:
		w.keepReport(lease, a.usage)
	}
	if w.session != nil {
		w.session.topUp()
	}
}

// call keeps a handler's panic from taking the other attempts down.
func (w *Worker) call(a *Attempt) (answer *Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log("handler of %s panicked: %v %q", a.GetAgent(), p, debug.Stack())
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	h, ok := w.handlers[a.GetAgent()]
	if !ok {
		return nil, fmt.Errorf("this worker does not serve agent %q", a.GetAgent())
	}
	return h(a)
}

// keepReport needs w.mu. Usage is owed even where no answer counts.
func (w *Worker) keepReport(lease string, usage *pb.Usage) {
	if len(w.reports) >= maxReports {
		w.log("usage report of a lost lease dropped: %d are waiting for a server", maxReports)
		return
	}
	w.reports[lease] = proto.Clone(usage).(*pb.Usage)
	if w.session != nil {
		w.session.sendReport(lease)
	}
}

// addUsage reports at once where there is a session; after a reconnect the sum is sent anyway.
func (w *Worker) addUsage(a *Attempt, u Usage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.usage.InputTokens += u.Input
	a.usage.OutputTokens += u.Output
	a.usage.CachedTokens += u.Cached
	a.usage.ReasoningTokens += u.Reasoning
	a.usage.Model = or(u.Model, a.usage.Model)
	if w.session != nil && !a.revoked {
		w.session.sendUsage(a)
	}
}

func (w *Worker) sendProgress(p *pb.Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.running[p.Lease]; w.session != nil && a != nil && !a.revoked {
		w.session.sendProgress(p)
	}
}

// log writes one line to stderr.
func (w *Worker) log(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
}
