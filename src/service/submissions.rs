//! The stream behind `StreamTasks`: submissions up, their results down, many of each a message, none waiting for another.
//!
//! It is pulled by the transport: nothing is read that could not be answered, and nothing runs once the client has gone.
//! What is under way is bounded in number and in bytes. Never here: what a submission means, or a result before it is
//! durable.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::stream::FuturesUnordered;
use prost::Message as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, metadata::MetadataMap};

use crate::{engine::event::TraceContext, pb};

use super::{shed, status::Fault, submitting::Submitting, tasks::Tasks, trace};

/// Submissions of one stream that may be under way at once.
const MAX_IN_FLIGHT: usize = 512;
/// And their bytes. One larger than this goes alone.
const MAX_IN_FLIGHT_BYTES: usize = 8 << 20;
/// Submissions in one message.
const MAX_IN_MESSAGE: usize = 1_000;
/// Results in one message.
const MAX_RESULTS: usize = 512;

/// A submission on its way to its result.
struct Running {
    number: i64,
    /// What it counts for among the bytes under way.
    bytes: usize,
    submitting: Submitting,
}

impl Future for Running {
    type Output = (usize, pb::SubmissionResult);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.submitting).poll(cx));
        Poll::Ready((self.bytes, result_out(self.number, result)))
    }
}

/// One stream.
pub(super) struct Submissions<S> {
    tasks: Tasks,
    incoming: S,
    /// The trace context of the call.
    trace: TraceContext,
    /// Read, and not yet begun.
    waiting: VecDeque<pb::Submission>,
    running: FuturesUnordered<Running>,
    running_bytes: usize,
    last_number: i64,
    reading: Reading,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: OwnedSemaphorePermit,
}

/// Whether more is read, and if not, how the stream ends once everything has been answered.
enum Reading {
    Yes,
    Done(Option<Status>),
}

impl<S> Submissions<S> {
    /// A stream of submissions. `stop` ends it when the server goes away; `place` is kept as long as it lives.
    pub(super) fn new(
        tasks: Tasks,
        incoming: S,
        metadata: &MetadataMap,
        stop: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            tasks,
            incoming,
            trace: trace::context(metadata),
            waiting: VecDeque::new(),
            running: FuturesUnordered::new(),
            running_bytes: 0,
            last_number: 0,
            reading: Reading::Yes,
            stop: Box::pin(stop.cancelled_owned()),
            _place: place,
        }
    }

    fn has_room(&self) -> bool {
        self.running.is_empty()
            || (self.running.len() < MAX_IN_FLIGHT && self.running_bytes < MAX_IN_FLIGHT_BYTES)
    }

    /// Begins what waits, as far as there is room.
    fn begin(&mut self) {
        while self.has_room()
            && let Some(submission) = self.waiting.pop_front()
        {
            let bytes = submission.encoded_len();
            self.running_bytes += bytes;
            let number = submission.number;
            let growing = number > self.last_number;
            self.last_number = self.last_number.max(number);
            let submitting = if growing {
                let trace = if submission.traceparent.is_empty() { Some(self.trace.clone()) } else { None };
                one(&self.tasks, submission, trace)
            } else {
                Submitting::refused(out_of_order(self.last_number))
            };
            self.running.push(Running { number, bytes, submitting });
        }
    }

    /// Takes the results that are there, at most as many as one message holds.
    fn results(&mut self, cx: &mut Context<'_>) -> Vec<pb::SubmissionResult> {
        let mut results = Vec::new();
        while results.len() < MAX_RESULTS
            && let Poll::Ready(Some((bytes, result))) = Pin::new(&mut self.running).poll_next(cx)
        {
            self.running_bytes -= bytes;
            results.push(result);
        }
        results
    }
}

impl<S> Submissions<S>
where
    S: Stream<Item = Result<pb::StreamTasksRequest, Status>> + Unpin,
{
    /// Reads while there is room, and begins what is read.
    fn read(&mut self, cx: &mut Context<'_>) {
        while matches!(self.reading, Reading::Yes) && self.waiting.is_empty() && self.has_room() {
            match Pin::new(&mut self.incoming).poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.reading = Reading::Done(None),
                Poll::Ready(Some(Err(status))) => {
                    let fault = shed::transport_fault(&status);
                    self.reading = Reading::Done(Some(fault.map_or(status, |fault| fault.to_status())));
                }
                Poll::Ready(Some(Ok(pb::StreamTasksRequest { submissions }))) => {
                    match submissions.len() {
                        1..=MAX_IN_MESSAGE => self.waiting.extend(submissions),
                        found => self.reading = Reading::Done(Some(wrong_count(found))),
                    }
                    self.begin();
                }
            }
        }
    }
}

impl<S> Stream for Submissions<S>
where
    S: Stream<Item = Result<pb::StreamTasksRequest, Status>> + Unpin,
{
    type Item = Result<pb::StreamTasksResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if matches!(this.reading, Reading::Yes) && this.stop.as_mut().poll(cx).is_ready() {
            this.reading = Reading::Done(Some(Fault::ShuttingDown.to_status()));
        }
        this.begin();
        this.read(cx);
        let results = this.results(cx);
        if !results.is_empty() {
            return Poll::Ready(Some(Ok(pb::StreamTasksResponse { results })));
        }
        // What waits for room has others running before it.
        if !this.running.is_empty() {
            return Poll::Pending;
        }
        match &mut this.reading {
            Reading::Yes => Poll::Pending,
            Reading::Done(end) => Poll::Ready(end.take().map(Err)),
        }
    }
}

/// Submits one. `trace` is the call's, where the submission has none of its own.
fn one(tasks: &Tasks, submission: pb::Submission, trace: Option<TraceContext>) -> Submitting {
    let pb::Submission { number: _, request, traceparent, tracestate } = submission;
    let Some(request) = request else {
        return Submitting::refused(Fault::field("request", "is required: as for SubmitTask"));
    };
    let trace = trace.unwrap_or_else(|| trace::of_texts(traceparent, tracestate));
    tasks.submit(*request, trace)
}

fn result_out(number: i64, result: Result<pb::SubmitTaskResponse, Fault>) -> pb::SubmissionResult {
    use pb::submission_result::Result as Outcome;
    let result = match result {
        Ok(accepted) => Outcome::Accepted(accepted),
        Err(fault) => Outcome::Refused(refusal(&fault)),
    };
    pb::SubmissionResult { number, result: Some(result) }
}

/// The status as a message: its details are a `google.rpc.Status` already, and that has the same layout.
fn refusal(fault: &Fault) -> pb::SubmissionRefusal {
    let status = fault.to_status();
    pb::SubmissionRefusal::decode(status.details()).unwrap_or_else(|_| pb::SubmissionRefusal {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

fn out_of_order(last: i64) -> Fault {
    Fault::field("number", format!("must be greater than 0 and grow within the stream: the last was {last}"))
}

fn wrong_count(found: usize) -> Status {
    Fault::field("submissions", format!("has {found} entries: write 1 to {MAX_IN_MESSAGE}")).to_status()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Waker};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::service::{rig::Rig, tasks::Stop};

    /// A client that never stops sending, one submission a message.
    struct Flood(i64);

    impl Stream for Flood {
        type Item = Result<pb::StreamTasksRequest, Status>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0 += 1;
            let submission = pb::Submission { number: self.0, ..Default::default() };
            Poll::Ready(Some(Ok(pb::StreamTasksRequest { submissions: vec![submission] })))
        }
    }

    #[tokio::test]
    async fn nothing_is_read_that_the_client_does_not_make_room_for() {
        let rig = Rig::new().await;
        let stop = Stop { intake: CancellationToken::new(), streams: CancellationToken::new() };
        let tasks = Tasks::new(rig.runtime.clone(), stop.clone(), 1, 1);
        let places = Arc::new(Semaphore::new(1));
        let place = places.clone().try_acquire_owned().expect("it is free");
        let (metadata, intake) = (MetadataMap::new(), stop.intake.clone());
        let mut stream = Submissions::new(tasks, Flood(0), &metadata, intake, place);
        let mut cx = Context::from_waker(Waker::noop());
        let most = i64::try_from(MAX_IN_FLIGHT).expect("it is small");
        let mut answered = 0;
        while answered < 2 * most {
            let Poll::Ready(Some(Ok(message))) = Pin::new(&mut stream).poll_next(&mut cx) else {
                panic!("a flood of faults has an answer at once")
            };
            answered += i64::try_from(message.results.len()).expect("it is small");
            assert!(
                stream.incoming.0 <= answered + most,
                "{} were read, {answered} answered",
                stream.incoming.0
            );
        }
        stop.intake.cancel();
        // What was read is answered; then the stream says why it ends, and ends.
        let end = loop {
            match Pin::new(&mut stream).poll_next(&mut cx) {
                Poll::Ready(Some(Ok(message))) => {
                    answered += i64::try_from(message.results.len()).expect("small")
                }
                Poll::Ready(Some(Err(status))) => break status,
                other => panic!("it ends with a status, not {other:?}"),
            }
        };
        assert_eq!((end.code(), answered), (tonic::Code::Unavailable, stream.incoming.0));
        assert!(matches!(Pin::new(&mut stream).poll_next(&mut cx), Poll::Ready(None)));
        drop(stream);
        assert_eq!(places.available_permits(), 1);
    }
}
