// The agent that `bailiwick conformance` drives: it does exactly what its input says, in order.
package main

import (
	"errors"
	"fmt"
	"time"

	pb "bailiwick.example/go/gen/bailiwick/v1"
	"bailiwick.example/go/worker"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

type script struct {
	Actions []action `json:"actions"`
	Answer  *struct {
		Status     string   `json:"status"`
		Result     any      `json:"result"`
		Confidence *float64 `json:"confidence"`
		Score      *float64 `json:"score"`
		Reason     string   `json:"reason"`
		InputsUsed []string `json:"inputs_used"`
		HandOff    *struct {
			Agent string `json:"agent"`
			Input any    `json:"input"`
		} `json:"hand_off"`
		AskHuman *string `json:"ask_human"`
	} `json:"answer"`
	Verdict *struct {
		Agree      bool     `json:"agree"`
		Confidence float64  `json:"confidence"`
		Reasons    []string `json:"reasons"`
	} `json:"verdict"`
}

// action has exactly one of its fields.
type action struct {
	Usage *struct {
		InputTokens  int64 `json:"input_tokens"`
		OutputTokens int64 `json:"output_tokens"`
	} `json:"usage"`
	Progress *struct {
		Text    string `json:"text"`
		Partial any    `json:"partial"`
	} `json:"progress"`
	RequestBudget *int64 `json:"request_budget"`
	SleepMS       *int64 `json:"sleep_ms"`
	Lineage       *bool  `json:"lineage"`
	Child         *struct {
		Agent string          `json:"agent"`
		Goal  string          `json:"goal"`
		Input *structpb.Value `json:"input"`
	} `json:"child"`
	Fail          *string `json:"fail"`
	FailRetryable *string `json:"fail_retryable"`
}

// observed is what the default answer tells.
type observed struct {
	Granted          []int64  `json:"granted"`
	Allowance        int64    `json:"allowance"`
	Lineage          []string `json:"lineage"`
	Notes            []string `json:"notes"`
	Attempt          int32    `json:"attempt"`
	IdempotencyKey   string   `json:"idempotency_key"`
	Traceparent      string   `json:"traceparent"`
	ChildTraceparent string   `json:"child_traceparent"`
	StepID           string   `json:"step_id"`
	Children         []any    `json:"children"`
	Termination      terms    `json:"termination"`
}

type terms struct {
	MinConfidence float64  `json:"min_confidence"`
	TurnsLeft     int32    `json:"turns_left"`
	Acceptance    []string `json:"acceptance"`
	Patience      *int32   `json:"patience"`
	BestScore     *float64 `json:"best_score"`
}

func termsOf(a *worker.Attempt) terms {
	t := a.GetTermination()
	seen := terms{MinConfidence: t.GetMinConfidence(), TurnsLeft: t.GetTurnsLeft(),
		Acceptance: append([]string{}, t.GetAcceptance()...)}
	if t != nil {
		seen.BestScore = t.BestScore
	}
	if convergence := t.GetConvergence(); convergence != nil {
		seen.Patience = &convergence.Patience
	}
	return seen
}

func conformance(a *worker.Attempt) (*worker.Answer, error) {
	var s script
	if err := a.Input(&s); err != nil {
		return nil, err
	}
	o := observed{Granted: []int64{}, Lineage: ids(a.Assignment.GetLineage()), Notes: append([]string{}, a.GetNotes()...),
		Attempt: a.GetAttempt(), IdempotencyKey: a.GetIdempotencyKey(), Traceparent: a.GetTraceparent(),
		ChildTraceparent: a.ChildTraceparent(), StepID: a.GetStepId(), Children: []any{}, Termination: termsOf(a)}
	for _, step := range s.Actions {
		if err := step.do(a, &o); err != nil {
			return nil, err
		}
	}
	if a.GetKind() == pb.TurnKind_TURN_KIND_DECIDE {
		return worker.EndPartial(tripped(a), "conformance"), nil
	}
	if a.GetKind() == pb.TurnKind_TURN_KIND_VALIDATE {
		return s.judge(a), nil
	}
	if s.Answer == nil {
		o.Allowance = a.Allowance()
		return worker.Success(o, 1), nil
	}
	return s.answer()
}

// judge agrees unless the script says otherwise; the last reasons tell what it has seen.
func (s script) judge(a *worker.Attempt) *worker.Answer {
	if s.Verdict == nil || s.Verdict.Agree {
		confidence := 1.0
		if s.Verdict != nil {
			confidence = s.Verdict.Confidence
		}
		return worker.Agree(confidence)
	}
	reasons := append([]string{}, s.Verdict.Reasons...)
	reasons = append(reasons, "author "+a.GetAuthor(), "result "+a.GetCandidate().GetResult().GetStringValue())
	for _, criterion := range a.GetCriteria() {
		reasons = append(reasons, "criterion "+criterion)
	}
	return worker.Disagree(s.Verdict.Confidence, reasons...)
}

func (step action) do(a *worker.Attempt, o *observed) error {
	switch {
	case step.Usage != nil:
		a.AddUsage(worker.Usage{Input: step.Usage.InputTokens, Output: step.Usage.OutputTokens})
	case step.Progress != nil && step.Progress.Partial != nil:
		a.Progress(step.Progress.Text, step.Progress.Partial)
	case step.Progress != nil:
		a.Progress(step.Progress.Text)
	case step.RequestBudget != nil:
		o.Granted = append(o.Granted, a.RequestBudget(*step.RequestBudget, "conformance"))
	case step.SleepMS != nil:
		return a.Sleep(time.Duration(*step.SleepMS) * time.Millisecond)
	case step.Lineage != nil:
		entries, err := a.Lineage()
		o.Lineage = ids(entries)
		return err
	case step.Child != nil:
		child, err := step.child(a)
		o.Children = append(o.Children, child)
		return err
	case step.Fail != nil:
		return errors.New(*step.Fail)
	case step.FailRetryable != nil:
		return worker.Retryable(errors.New(*step.FailRetryable))
	default:
		return errors.New("unknown action")
	}
	return nil
}

// child submits a child for the agent that is named, and waits for it.
func (step action) child(a *worker.Attempt) (any, error) {
	want := step.Child
	id, err := a.SubmitChild(&pb.Contract{Goal: want.Goal, Input: want.Input, Owner: want.Agent,
		Start:       &pb.Contract_FirstAgent{FirstAgent: want.Agent},
		Termination: &pb.Termination{Convergence: &pb.Convergence{}}})
	if err != nil {
		return map[string]any{"refused": int(status.Code(err))}, nil
	}
	task, err := a.WaitFor(id)
	outcome := task.GetOutcome()
	return map[string]any{"state": outcome.GetState().String(), "result": outcome.GetResult().AsInterface()}, err
}

// tripped is what tripped, on a decide turn, a line each.
func tripped(a *worker.Attempt) any {
	if len(a.GetTrips()) == 0 {
		return nil
	}
	lines := []string{}
	for _, trip := range a.GetTrips() {
		lines = append(lines, fmt.Sprintf("%s %d %s", trip.GetCause(), trip.GetTimes(), trip.GetEvidence()))
	}
	return lines
}

func (s script) answer() (*worker.Answer, error) {
	var answer *worker.Answer
	switch want := s.Answer; want.Status {
	case "success", "":
		answer = worker.Success(want.Result, 1)
	case "partial":
		answer = worker.Partial(want.Result, 0, want.Reason)
	case "failed":
		answer = worker.Failed(want.Reason)
	default:
		return nil, fmt.Errorf("unknown status %q", want.Status)
	}
	if s.Answer.Status == "failed" && s.Answer.Result != nil {
		answer = worker.Partial(s.Answer.Result, 0, s.Answer.Reason)
		answer.Envelope.Status = pb.Status_STATUS_FAILED
	}
	answer.Envelope.Reason = s.Answer.Reason
	answer.Envelope.Confidence = s.Answer.Confidence
	answer.Envelope.Score = s.Answer.Score
	answer.Envelope.InputsUsed = s.Answer.InputsUsed
	if h := s.Answer.HandOff; h != nil {
		answer.HandOff(h.Agent, h.Input)
	}
	if s.Answer.AskHuman != nil {
		answer.AskHuman(*s.Answer.AskHuman)
	}
	return answer, nil
}

func ids(entries []*pb.LineageEntry) []string {
	all := []string{}
	for _, entry := range entries {
		all = append(all, entry.GetId())
	}
	return all
}
