// What the server says on a session. Nothing it says may end the worker: what makes no sense is logged and ignored.
package worker

import (
	"context"
	"time"

	pb "bailiwick.example/go/gen/bailiwick/v1"
)

const retryLeast = 200 * time.Millisecond // where a Refusal names no wait

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
	if lease != "" && w.running[lease] != nil {
		w.log("assignment under a lease already held ignored")
		return
	}
	s.credit = max(s.credit-1, 0)
	switch {
	case lease == "":
		w.log("assignment without a lease ignored")
		s.topUp()
	case w.draining:
		// It crossed our Drain. Said now, another worker can have it; unsaid, it waits for the lease to lapse.
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
	switch what.kind {
	case kindAnswer:
		if retry {
			s.later(again, func() { s.sendAnswer(what.lease) })
		} else if answer := w.answers[what.lease]; answer != nil {
			delete(w.answers, what.lease)
			// The answer is lost, what it cost is not.
			w.keepReport(what.lease, usageOf(answer))
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

func usageOf(answer *pb.Complete) *pb.Usage {
	if decision := answer.GetDecision(); decision != nil {
		return decision.GetUsage()
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
