// What the server says on a session. Nothing it says may end the worker: what makes no sense is logged and ignored.
package worker

import (
	"context"
	"strings"
	"time"

	pb "bailiwick.example/go/gen/bailiwick/v1"
)

const (
	retryLeast   = 200 * time.Millisecond // where a Refusal names no wait
	refusedStart = "the server refused the answer: "
)

// receive needs worker.mu, as all of this file does except askBudget.
func (s *session) receive(message *pb.SessionResponse) {
	w := s.worker
	switch m := message.GetMessage().(type) {
	case *pb.SessionResponse_Assignment:
		s.assigned(m.Assignment)
	case *pb.SessionResponse_Cancel:
		a := w.running[m.Cancel.GetLease()]
		if a == nil {
			w.log("cancel of a lease not held ignored: %s", m.Cancel.GetReason())
		} else if !a.revoked {
			w.log("cancelled: %s turn %d: %s", a.GetAgent(), a.GetTurn(), m.Cancel.GetReason())
			a.revoke(context.Canceled)
		}
	case *pb.SessionResponse_BudgetGrant:
		s.granted(m.BudgetGrant)
	case *pb.SessionResponse_Ack:
		for _, id := range m.Ack.GetMessageIds() {
			s.acknowledged(id)
		}
	case *pb.SessionResponse_Refusal:
		s.refused(m.Refusal)
	case *pb.SessionResponse_Drain:
		w.log("the server drains")
		s.leaving = true
	default:
		w.log("message from the server ignored: %T", m)
	}
}

func (s *session) assigned(assignment *pb.Assignment) {
	w := s.worker
	lease := assignment.GetLease()
	if lease != "" && (w.running[lease] != nil || w.answers[lease] != nil) {
		w.log("assignment under a lease already held ignored")
		return
	}
	s.credit = max(s.credit-1, 0)
	switch {
	case lease == "":
		w.log("assignment without a lease ignored")
		s.topUp()
	case w.draining && assignment.GetKind() != pb.TurnKind_TURN_KIND_DECIDE:
		// It crossed our Drain. Said now, another worker can have it; unsaid, it waits for the lease to lapse. A decide
		// turn is never given back: an envelope would mean that the owner did not decide.
		a := &Attempt{Assignment: assignment, usage: &pb.Usage{}}
		w.answers[lease] = a.complete(nil, Retryable(errDraining), s.limit)
		s.sendAnswer(lease)
	default:
		w.start(assignment)
	}
}

func (s *session) granted(grant *pb.BudgetGrant) {
	if a := s.worker.running[grant.GetLease()]; a != nil {
		a.allowance = max(a.allowance, grant.GetAllowanceTokens())
	}
	if what := s.sent[grant.GetMessageId()]; what.kind == kindBudget {
		delete(s.sent, grant.GetMessageId())
		what.reply <- budgetReply{granted: grant.GetGrantedTokens(), again: -1}
	}
}

func (s *session) acknowledged(id int64) {
	what := s.sent[id]
	switch what.kind {
	case kindAnswer:
		delete(s.worker.answers, what.lease)
		s.topUp()
	case kindReport:
		delete(s.worker.reports, what.lease)
	case kindBudget:
		return // its answer is the grant
	}
	delete(s.sent, id)
}

func (s *session) refused(r *pb.Refusal) {
	w := s.worker
	what := s.sent[r.GetMessageId()]
	delete(s.sent, r.GetMessageId())
	w.log("message %d refused: %s: %s", r.GetMessageId(), r.GetReason(), r.GetMessage())
	lost := r.GetReason() == "LEASE_NOT_LIVE" || r.GetReason() == "LEASE_UNKNOWN"
	again := max(r.GetRetryAfter().AsDuration(), retryLeast)
	retry := r.GetRetryable() && !lost
	if id := r.GetMessageId(); id != 0 && id == s.offer.id {
		s.credit = max(s.credit-s.offer.slots, 0)
		s.later(again, s.topUp)
	}
	if a := w.running[r.GetLease()]; lost && a != nil && !a.revoked {
		a.revoke(errLost)
	}
	switch what.kind {
	case kindAnswer:
		if retry {
			s.later(again, func() { s.sendAnswer(what.lease) })
		} else {
			s.refusedForGood(what.lease, r)
		}
	case kindReport:
		if retry {
			s.later(again, func() { s.sendReport(what.lease) })
		} else {
			delete(w.reports, what.lease)
		}
	case kindUsage:
		if retry {
			s.later(again, func() {
				if a := w.running[what.lease]; a != nil {
					s.sendUsage(a)
				}
			})
		}
	case kindBudget:
		if !retry {
			again = -1
		}
		what.reply <- budgetReply{again: again}
	}
}

// refusedForGood drops an answer. Where its lease lives on, the turn would hang on our heartbeats: a FAILED answer that
// says why takes its place, once.
func (s *session) refusedForGood(lease string, r *pb.Refusal) {
	w := s.worker
	answer := w.answers[lease]
	if answer == nil {
		return
	}
	delete(w.answers, lease)
	usage := usageOf(answer)
	switch r.GetReason() {
	case "LEASE_UNKNOWN":
	case "LEASE_NOT_LIVE", "ALREADY_ANSWERED":
		w.keepReport(lease, usage) // the answer is lost, what it cost is not
	default:
		if strings.HasPrefix(answer.GetEnvelope().GetReason(), refusedStart) {
			break
		}
		failed := Failed(refusedStart + r.GetReason() + ": " + firstRunes(r.GetMessage(), maxErrorRunes)).Envelope
		failed.Usage = usage
		w.answers[lease] = &pb.Complete{Lease: lease, Answer: &pb.Complete_Envelope{Envelope: failed}}
		s.sendAnswer(lease)
	}
	s.topUp()
}

func usageOf(answer *pb.Complete) *pb.Usage {
	if decision := answer.GetDecision(); decision != nil {
		return decision.GetUsage()
	}
	if verdict := answer.GetVerdict(); verdict != nil {
		return verdict.GetUsage()
	}
	return answer.GetEnvelope().GetUsage()
}

// later does something on this session, if it is still the current one.
func (s *session) later(after time.Duration, what func()) {
	time.AfterFunc(after, func() {
		s.worker.mu.Lock()
		defer s.worker.mu.Unlock()
		if s.worker.session == s {
			what()
		}
	})
}

// askBudget sends the request once there is a session. No reply channel means that the attempt was cancelled.
func (w *Worker) askBudget(a *Attempt, tokens int64, reason string) (<-chan budgetReply, <-chan struct{}) {
	for {
		s := w.current(a.ctx)
		if s == nil {
			return nil, nil
		}
		w.mu.Lock()
		if w.session != s {
			w.mu.Unlock()
			continue
		}
		defer w.mu.Unlock()
		reply := make(chan budgetReply, 1)
		request := &pb.BudgetRequest{Lease: a.GetLease(), Tokens: tokens, Reason: clip(reason, maxBudgetReason)}
		s.send(&pb.SessionRequest{Message: &pb.SessionRequest_BudgetRequest{BudgetRequest: request}},
			sentMessage{kind: kindBudget, lease: request.Lease, reply: reply})
		return reply, s.ended
	}
}
