// Calls of a handler's own under its lease: children, and how they end.
//
// Nothing here waits without watching the cancel signal, and nothing here is sent twice where that would do harm.
package worker

import (
	"context"

	pb "bailiwick.example/go/gen/bailiwick/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// SubmitChild submits a task under this attempt's lease and gives its id. It is paid from what this task has left and
// stopped with it. The same contract under the same attempt gives the same child. The error is the server's refusal: see
// status.Code.
func (a *Attempt) SubmitChild(contract *pb.Contract) (taskID string, err error) {
	request := &pb.SubmitTaskRequest{Contract: contract, ParentLease: a.GetLease()}
	submitted, err := call(a, func(ctx context.Context, s *session) (*pb.SubmitTaskResponse, error) {
		return s.tasks.SubmitTask(ctx, request)
	})
	return submitted.GetTaskId(), err
}

// WaitFor waits until a task, such as a child, has ended, and gives it whole, with its outcome.
func (a *Attempt) WaitFor(taskID string) (*pb.Task, error) {
	request := &pb.GetTaskRequest{TaskId: taskID}
	for wait := lookLeast; ; wait = min(2*wait, lookMost) {
		found, err := call(a, func(ctx context.Context, s *session) (*pb.GetTaskResponse, error) {
			return s.tasks.GetTask(ctx, request)
		})
		if err != nil || found.GetTask().GetOutcome() != nil {
			return found.GetTask(), err
		}
		if err := a.Sleep(wait); err != nil {
			return nil, err
		}
	}
}

// call does a unary call under the attempt's trace, again on the next connection when one breaks: none of the calls here
// has a second effect.
func call[T any](a *Attempt, do func(context.Context, *session) (T, error)) (response T, err error) {
	for wait := backoffLeast; ; wait = min(2*wait, backoffMost) {
		s := a.worker.current(a.ctx)
		if s == nil {
			return response, context.Cause(a.ctx)
		}
		ctx, cancel := context.WithTimeout(a.ctx, callTimeout)
		if trace := a.GetTraceparent(); trace != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", trace)
		}
		response, err = do(ctx, s)
		cancel()
		if a.Cancelled() {
			return response, context.Cause(a.ctx)
		}
		switch status.Code(err) {
		case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.ResourceExhausted:
			if err := a.Sleep(wait); err != nil {
				return response, err
			}
		default:
			return response, err
		}
	}
}
