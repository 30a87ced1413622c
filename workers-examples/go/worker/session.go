// One session: one connection, one stream, the numbering of its messages, and what was sent and not yet answered.
//
// The order matters: Register before anything else; answers before new credit, so that the server never counts a
// finished attempt as a running one. Only the writer goroutine sends, so that a stuck stream blocks nobody else.
package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "bailiwick.example/go/gen/bailiwick/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// What a sent message was, for when its Ack or Refusal comes.
type kind int

const (
	kindOther kind = iota
	kindAnswer
	kindUsage
	kindReport
	kindBudget
)

type sentMessage struct {
	kind  kind
	lease string
	reply chan budgetReply
}

// budgetReply is a grant, or with again >= 0 the wait before asking once more.
type budgetReply struct {
	granted int64
	again   time.Duration
}

type session struct {
	worker   *Worker
	stream   grpc.BidiStreamingClient[pb.SessionRequest, pb.SessionResponse]
	client   pb.WorkerServiceClient
	tasks    pb.TaskServiceClient
	cancel   context.CancelFunc
	ended    <-chan struct{}
	wake     chan struct{}
	interval time.Duration // of heartbeats
	// Under worker.mu:
	queue  []*pb.SessionRequest
	lastID int64
	sent   map[int64]sentMessage
	held   map[string]bool // leases named in Register
	credit int             // given and not yet used up
	offer  struct {        // the last Credit: a refusal takes it back
		id    int64
		slots int
	}
	slots   int   // the most attempts at once here
	limit   int64 // bytes of a message
	leaving bool  // the server drains: no more credit
}

// serve holds one session from the first connect to its end, and says why it ended.
func (w *Worker) serve() error {
	conn, err := grpc.NewClient(w.opts.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &session{worker: w, client: pb.NewWorkerServiceClient(conn), tasks: pb.NewTaskServiceClient(conn), cancel: cancel, ended: ctx.Done(),
		wake: make(chan struct{}, 1), sent: map[int64]sentMessage{}, held: map[string]bool{}, limit: maxMessage}
	if err := s.open(ctx); err != nil {
		return err
	}
	defer w.close(s)
	go s.write()
	for {
		message, err := s.stream.Recv()
		if err != nil {
			return err
		}
		w.mu.Lock()
		s.receive(message)
		w.mu.Unlock()
	}
}

// open registers and waits for the answer, for registerTimeout.
func (s *session) open(ctx context.Context) error {
	w := s.worker
	late := time.AfterFunc(registerTimeout, s.cancel)
	defer late.Stop()
	unwatch := make(chan struct{})
	defer close(unwatch)
	go func() { // a drained worker waits for no server
		select {
		case <-w.idle:
			s.cancel()
		case <-unwatch:
		}
	}()
	stream, err := s.client.Session(ctx)
	if err != nil {
		return err
	}
	s.stream = stream
	told := time.Now()
	if err := stream.Send(s.register()); err != nil {
		if _, why := stream.Recv(); why != nil {
			return why
		}
		return err
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		if refusal := message.GetRefusal(); refusal != nil {
			return fmt.Errorf("registration refused: %s: %s", refusal.GetReason(), refusal.GetMessage())
		}
		if registered := message.GetRegistered(); registered != nil {
			return s.registered(registered, told)
		}
		w.log("message before Registered ignored")
	}
}

// register names every lease that is still worked under or has an answer on its way.
func (s *session) register() *pb.SessionRequest {
	w := s.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	for lease, a := range w.running {
		if !a.revoked {
			s.held[lease] = true
		}
	}
	for lease := range w.answers {
		s.held[lease] = true
	}
	register := &pb.Register{WorkerId: w.opts.ID, Agents: w.agents, MaxConcurrency: int32(w.opts.Concurrency)}
	for lease := range s.held {
		register.HeldLeases = append(register.HeldLeases, lease)
	}
	s.lastID = 1
	return &pb.SessionRequest{MessageId: 1, Message: &pb.SessionRequest_Register{Register: register}}
}

// registered makes the session the worker's current one and says what went unsaid.
func (s *session) registered(r *pb.Registered, told time.Time) error {
	w := s.worker
	lease, interval := r.GetLeaseTime().AsDuration(), r.GetHeartbeatInterval().AsDuration()
	if lease <= 0 || interval <= 0 {
		return errors.New("Registered without lease_time or heartbeat_interval")
	}
	w.touch(told)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log("registered as %s", w.opts.ID)
	w.leaseTime, s.interval = lease, interval
	s.slots = w.opts.Concurrency
	if most := int(r.GetMaxConcurrency()); most > 0 {
		s.slots = min(s.slots, most)
	}
	if most := r.GetMaxMessageBytes(); most > 0 {
		s.limit = min(s.limit, most)
	}
	live := map[string]bool{}
	for _, lease := range r.GetLiveLeases() {
		live[lease] = true
	}
	w.session = s
	w.announce()
	for lease, a := range w.running {
		if s.held[lease] && !live[lease] && !a.revoked {
			a.revoke(errLost)
		} else if !a.revoked && a.usage.InputTokens+a.usage.OutputTokens > 0 {
			s.sendUsage(a)
		}
	}
	for lease := range w.answers {
		s.sendAnswer(lease)
	}
	for lease := range w.reports {
		s.sendReport(lease)
	}
	if w.draining {
		s.sendDrain(w.opts.DrainGrace)
	}
	s.topUp()
	return nil
}

// close ends the session for everyone who waits on it.
func (w *Worker) close(s *session) {
	s.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session = nil
	w.announce()
}

// announce needs w.mu.
func (w *Worker) announce() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// current waits for a session; nil when ctx ends first.
func (w *Worker) current(ctx context.Context) *session {
	for {
		w.mu.Lock()
		s, changed := w.session, w.changed
		w.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		if s != nil {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// write sends what is queued and a heartbeat every interval; when the worker has drained it closes the sending side.
func (s *session) write() {
	heartbeat := time.NewTicker(s.interval)
	defer heartbeat.Stop()
	for s.flush() {
		select {
		case <-s.wake:
		case <-heartbeat.C:
			s.worker.mu.Lock()
			s.send(&pb.SessionRequest{Message: &pb.SessionRequest_Heartbeat{Heartbeat: &pb.Heartbeat{}}}, sentMessage{})
			s.worker.mu.Unlock()
		case <-s.worker.idle:
			time.AfterFunc(2*time.Second, s.cancel) // for a server that keeps its side open
			s.flush()
			_ = s.stream.CloseSend() // always nil
			return
		case <-s.ended:
			return
		}
	}
}

// flush says whether everything queued was sent; if not, Recv has the reason.
func (s *session) flush() bool {
	for _, message := range s.take() {
		if s.stream.Send(message) != nil {
			return false
		}
		s.worker.touch(time.Now())
	}
	return true
}

func (s *session) take() []*pb.SessionRequest {
	s.worker.mu.Lock()
	defer s.worker.mu.Unlock()
	queue := s.queue
	s.queue = nil
	return queue
}

// All below needs worker.mu.

func (s *session) send(request *pb.SessionRequest, what sentMessage) int64 {
	s.lastID++
	request.MessageId = s.lastID
	if what.kind != kindOther {
		s.sent[s.lastID] = what
	}
	s.queue = append(s.queue, request)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.lastID
}

func (s *session) sendAnswer(lease string) {
	if answer, ok := s.worker.answers[lease]; ok {
		s.send(&pb.SessionRequest{Message: &pb.SessionRequest_Complete{Complete: answer}}, sentMessage{kind: kindAnswer, lease: lease})
	}
}

func (s *session) sendReport(lease string) {
	if usage, ok := s.worker.reports[lease]; ok {
		report := &pb.UsageReport{Lease: lease, Usage: usage}
		s.send(&pb.SessionRequest{Message: &pb.SessionRequest_Usage{Usage: report}}, sentMessage{kind: kindReport, lease: lease})
	}
}

// sendUsage leaves a report out when the stream is far behind: a later one, or the answer, says more.
func (s *session) sendUsage(a *Attempt) {
	if len(s.queue) < maxQueue {
		report := &pb.UsageReport{Lease: a.GetLease(), Usage: proto.Clone(a.usage).(*pb.Usage)}
		s.send(&pb.SessionRequest{Message: &pb.SessionRequest_Usage{Usage: report}}, sentMessage{kind: kindUsage, lease: report.Lease})
	}
}

func (s *session) sendProgress(p *pb.Progress) {
	if len(s.queue) < maxQueue {
		s.send(&pb.SessionRequest{Message: &pb.SessionRequest_Progress{Progress: p}}, sentMessage{})
	}
}

func (s *session) sendDrain(grace time.Duration) {
	drain := &pb.Drain{Grace: durationpb.New(grace)}
	s.send(&pb.SessionRequest{Message: &pb.SessionRequest_Drain{Drain: drain}}, sentMessage{})
}

// topUp gives credit for every slot that is neither in use nor on offer. An answer on its way uses its slot until it is
// acknowledged or refused for good: so long the server counts the attempt as running.
func (s *session) topUp() {
	free := s.slots - len(s.worker.running) - len(s.worker.answers) - s.credit
	if free <= 0 || s.worker.draining || s.leaving {
		return
	}
	s.credit += free
	credit := &pb.Credit{Slots: int32(free)}
	s.offer.slots = free
	s.offer.id = s.send(&pb.SessionRequest{Message: &pb.SessionRequest_Credit{Credit: credit}}, sentMessage{})
}
