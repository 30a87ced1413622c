// What a handler sees: its attempt, and the answers it may give.
//
// Nothing here touches the stream, and nothing here waits without watching the cancel signal: a handler that uses only
// what it finds in this file stops when it is told to.
package worker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "bailiwick.example/go/gen/bailiwick/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Handler does one attempt of one turn. An error becomes a FAILED answer, a [Retryable] one may be tried again.
type Handler func(a *Attempt) (*Answer, error)

// Attempt is one assignment under its lease. Its methods may be called from any goroutine of the handler.
type Attempt struct {
	*pb.Assignment // the fields as the server sent them; never write to them
	worker         *Worker
	ctx            context.Context
	stop           context.CancelCauseFunc
	// Under worker.mu: the use so far, the allowance now, and whether an answer would still count.
	usage     *pb.Usage
	allowance int64
	revoked   bool
}

// Usage is what a model call took, in tokens. Cached is a part of Input, Reasoning one of Output.
type Usage struct {
	Input, Output, Cached, Reasoning int64
	Model                            string
}

// Context ends when the attempt is cancelled; pass it to model calls.
func (a *Attempt) Context() context.Context { return a.ctx }

// Cancelled says whether to stop at once. Any answer is thrown away then.
func (a *Attempt) Cancelled() bool { return a.ctx.Err() != nil }

// Sleep waits, unless the attempt is cancelled first: then it says why.
func (a *Attempt) Sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	}
}

// Input reads the assignment's input into v, as encoding/json does.
func (a *Attempt) Input(v any) error {
	text, err := json.Marshal(a.Assignment.GetInput().AsInterface())
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// Progress says what was done since the last report and, if given, the best result so far.
func (a *Attempt) Progress(text string, partial ...any) {
	var best *structpb.Value
	if len(partial) > 0 {
		value, err := toValue(partial[0])
		if err != nil {
			a.worker.log("partial result of %s left out: %v", a.GetAgent(), err)
		}
		best = value
	}
	step := &pb.WorkStep{Kind: pb.WorkStepKind_WORK_STEP_KIND_MESSAGE, Content: clip(text, maxStep)}
	a.Report([]*pb.WorkStep{step}, best)
}

// Report is Progress with steps of any kind (messages, tool calls and their results), at most 100 of them.
func (a *Attempt) Report(steps []*pb.WorkStep, partial *structpb.Value) {
	a.worker.sendProgress(&pb.Progress{Lease: a.GetLease(), Steps: steps, PartialResult: partial})
}

// AddUsage adds to what the attempt has used, and reports the sum.
func (a *Attempt) AddUsage(u Usage) { a.worker.addUsage(a, u) }

// Used is the use so far, in tokens (input + output).
func (a *Attempt) Used() int64 {
	a.worker.mu.Lock()
	defer a.worker.mu.Unlock()
	return a.usage.InputTokens + a.usage.OutputTokens
}

// Allowance is what the attempt may use in all, in tokens. It grows with every grant.
func (a *Attempt) Allowance() int64 {
	a.worker.mu.Lock()
	defer a.worker.mu.Unlock()
	return a.allowance
}

// RequestBudget asks for more tokens and waits: the server grants all of them or none.
func (a *Attempt) RequestBudget(tokens int64, reason string) (granted int64) {
	for !a.Cancelled() {
		reply, ended := a.worker.askBudget(a, tokens, reason)
		if reply == nil {
			break
		}
		select {
		case answer := <-reply:
			if answer.again < 0 {
				return answer.granted
			}
			_ = a.Sleep(answer.again) // a cancel ends the loop above
		case <-ended: // the stream broke: ask on the next one
		case <-a.ctx.Done():
		}
	}
	return 0
}

// Afford says whether so many more tokens may be used, asking for what is missing.
func (a *Attempt) Afford(tokens int64) bool {
	missing := a.Used() + tokens - a.Allowance()
	return missing <= 0 || a.RequestBudget(missing, "the work is larger than the allowance") >= missing
}

// Lineage is every envelope of the task so far, fetched where the assignment carries only a part.
func (a *Attempt) Lineage() ([]*pb.LineageEntry, error) {
	if int(a.GetLineageTotal()) <= len(a.Assignment.GetLineage()) {
		return a.Assignment.GetLineage(), nil
	}
	var all []*pb.LineageEntry
	request := &pb.GetLineageRequest{Lease: a.GetLease()}
	for {
		page, err := call(a, func(ctx context.Context, s *session) (*pb.GetLineageResponse, error) {
			return s.client.GetLineage(ctx, request)
		})
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetEntries()...)
		if page.GetNextPageToken() == "" {
			return all, nil
		}
		request.PageToken = page.GetNextPageToken()
	}
}

// ChildTraceparent names a new span below this attempt, for a call to some other service.
func (a *Attempt) ChildTraceparent() string { return ChildTraceparent(a.GetTraceparent()) }

// ChildTraceparent keeps the trace of a W3C traceparent and makes a new span id; without a valid parent, a new trace.
func ChildTraceparent(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || len(parts[1]) != 32 || len(parts[3]) != 2 {
		return "00-" + randomHex(16) + "-" + randomHex(8) + "-01"
	}
	return "00-" + parts[1] + "-" + randomHex(8) + "-" + parts[3]
}

func randomHex(bytes int) string {
	buffer := make([]byte, bytes)
	_, _ = rand.Read(buffer) // never fails: crypto/rand ends the program rather than return an error
	return hex.EncodeToString(buffer)
}

// Answer is what a handler gives back: an envelope on a work turn, a decision on a decide turn, a verdict on a validate
// turn. Usage is filled in.
type Answer struct {
	Envelope *pb.StatusEnvelope
	Decision *pb.Decision
	Verdict  *pb.Verdict
	err      error
}

// Success answers that the goal of the turn is met; result is anything encoding/json can write, confidence 0 to 1.
func Success(result any, confidence float64) *Answer {
	return envelope(pb.Status_STATUS_SUCCESS, result, &confidence, "")
}

// Partial answers with something useful that is not all that was asked; reason says what is missing.
func Partial(result any, confidence float64, reason string) *Answer {
	return envelope(pb.Status_STATUS_PARTIAL, result, &confidence, reason)
}

// Failed answers with nothing useful and the reason.
func Failed(reason string) *Answer { return envelope(pb.Status_STATUS_FAILED, nil, nil, reason) }

// WithScore adds to an envelope how good the result is, 0 to 1: what convergence is judged by. Without it the confidence
// is taken.
func (a *Answer) WithScore(score float64) *Answer {
	a.Envelope.Score = &score
	return a
}

// EndPartial decides, on a decide turn, to end the task; a nil result means the best one so far.
func EndPartial(result any, reason string) *Answer {
	end := &pb.CompletePartial{Reason: clip(reason, maxReason)}
	var err error
	if result != nil {
		end.Result, err = toValue(result)
	}
	return &Answer{Decision: &pb.Decision{Decision: &pb.Decision_CompletePartial{CompletePartial: end}}, err: err}
}

// Agree says, on a validate turn, that the candidate may become the outcome; confidence is 0 to 1.
func Agree(confidence float64) *Answer {
	return &Answer{Verdict: &pb.Verdict{Verdict: pb.Judgement_JUDGEMENT_AGREE, Confidence: &confidence}}
}

// Disagree says, on a validate turn, that it may not, and why: words that its author can act on.
func Disagree(confidence float64, reasons ...string) *Answer {
	clipped := make([]string, len(reasons))
	for i, reason := range reasons {
		clipped[i] = clip(reason, maxVerdictReason)
	}
	return &Answer{Verdict: &pb.Verdict{
		Verdict: pb.Judgement_JUDGEMENT_DISAGREE, Confidence: &confidence, Reasons: clipped}}
}

func envelope(status pb.Status, result any, confidence *float64, reason string) *Answer {
	e := &pb.StatusEnvelope{Status: status, Confidence: confidence, Reason: clip(reason, maxReason)}
	var err error
	if result != nil {
		e.Result, err = toValue(result)
	}
	return &Answer{Envelope: e, err: err}
}

// HandOff adds to an envelope: the named agent goes on with this input.
func (a *Answer) HandOff(agent string, input any) *Answer {
	value, err := toValue(input)
	a.err = errors.Join(a.err, err)
	a.Envelope.Directive = &pb.StatusEnvelope_HandOff{HandOff: &pb.HandOff{Agent: agent, Input: value}}
	return a
}

// Delegate adds to an envelope: run this plan, then give control back.
func (a *Answer) Delegate(plan *pb.Plan) *Answer {
	a.Envelope.Directive = &pb.StatusEnvelope_Delegate{Delegate: &pb.Delegate{Plan: plan}}
	return a
}

// AskHuman adds to an envelope: a person is asked, and the task waits.
func (a *Answer) AskHuman(question string) *Answer {
	a.Envelope.Directive = &pb.StatusEnvelope_AskHuman{AskHuman: &pb.AskHuman{Question: clip(question, maxReason)}}
	return a
}

// complete turns a handler's return into what goes on the wire. Whatever the handler did, the turn gets an answer.
func (a *Attempt) complete(answer *Answer, err error, limit int64) *pb.Complete {
	usage := proto.Clone(a.usage).(*pb.Usage)
	if err == nil && answer == nil {
		err = errors.New("the handler gave no answer")
	}
	if err == nil {
		err = answer.err
	}
	if err == nil && answer.Decision != nil {
		answer.Decision.Usage = usage
		return &pb.Complete{Lease: a.GetLease(), Answer: &pb.Complete_Decision{Decision: answer.Decision}}
	}
	if err == nil && answer.Verdict != nil {
		answer.Verdict.Usage = usage
		return &pb.Complete{Lease: a.GetLease(), Answer: &pb.Complete_Verdict{Verdict: answer.Verdict}}
	}
	if err == nil {
		answer.Envelope.Usage = usage
		size, result := int64(proto.Size(answer.Envelope)), proto.Size(answer.Envelope.Result)
		if size < limit-headroom && result <= maxResult {
			return &pb.Complete{Lease: a.GetLease(), Answer: &pb.Complete_Envelope{Envelope: answer.Envelope}}
		}
		err = fmt.Errorf("the answer has %d bytes (at most %d), its result %d (at most %d)", size, limit, result, maxResult)
	}
	var retry *RetryableError
	failed := Failed(firstRunes(fmt.Sprintf("%T: %v", err, err), maxErrorRunes)).Envelope
	failed.Retryable, failed.Usage = errors.As(err, &retry), usage
	return &pb.Complete{Lease: a.GetLease(), Answer: &pb.Complete_Envelope{Envelope: failed}}
}

// RetryableError is a technical failure (an upstream outage, a rate limit): another attempt may do better.
type RetryableError struct{ Err error }

// Retryable marks an error as technical.
func Retryable(err error) error { return &RetryableError{err} }

func (e *RetryableError) Error() string { return e.Err.Error() }
func (e *RetryableError) Unwrap() error { return e.Err }

// toValue goes through JSON, so that a handler may use its own structs and tags.
func toValue(v any) (*structpb.Value, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	value := &structpb.Value{}
	return value, value.UnmarshalJSON(text)
}

// clip makes a text fit its bound in bytes, and valid UTF-8, which protobuf demands.
func clip(text string, bytes int) string {
	return strings.ToValidUTF8(text[:min(len(text), bytes)], "")
}

func firstRunes(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most])
	}
	return text
}
