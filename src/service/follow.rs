//! The stream behind `WatchTask`: a task's records as events, until its outcome or the server's end.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, codegen::BoxStream};

use crate::{
    engine::{event::Record, view::SummaryView},
    pb,
    runtime::{ReadError, Watch},
    types::ids::TaskId,
};

use super::{
    convert::{event::Reader, task::summary_out},
    status::Fault,
};

/// How long a large event waits for room: a client that reads makes some soon.
const PATIENCE: Duration = Duration::from_secs(5);

/// A task that is being followed.
pub(crate) struct Follow {
    reader: Reader,
    after: u64,
    watch: Watch,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// Something that a stream is pulled from: nothing is read before the client wants it.
pub(crate) trait Source: Send + 'static {
    /// What it sends.
    type Message: Send + 'static;

    /// The next message; `None` at the end. After an error nothing more is asked for.
    fn next(&mut self) -> impl Future<Output = Option<Result<Self::Message, Status>>> + Send;
}

impl Follow {
    /// Follows `watch`, which starts at the task's first record; sends what comes after `after`.
    pub(crate) fn new(
        task: TaskId,
        after: u64,
        watch: Watch,
        stop: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { reader: Reader::new(task), after, watch, stop, _place: place }
    }

    /// The next record; waits for a while where there is no room for it.
    async fn pull(&mut self) -> Option<Result<(Record, Option<SummaryView>), ReadError>> {
        let first = self.watch.next().await;
        if !matches!(first, Some(Err(ReadError::Overloaded(_)))) {
            return first;
        }
        match timeout(PATIENCE, self.watch.wait_for_room()).await {
            Ok(()) => self.watch.next().await,
            Err(_) => first,
        }
    }
}

impl Source for Follow {
    type Message = pb::WatchTaskResponse;

    async fn next(&mut self) -> Option<Result<Self::Message, Status>> {
        loop {
            let stop = self.stop.clone();
            let next = tokio::select! {
                next = self.pull() => next?,
                () = stop.cancelled() => return Some(Err(Fault::ShuttingDown.to_status())),
            };
            let (record, summary) = match next {
                Ok(next) => next,
                Err(error) => return Some(Err(Fault::from(error).to_status())),
            };
            if record.seq <= self.after {
                self.reader.skip(&record);
                continue;
            }
            let event = Some(self.reader.read(&record));
            return Some(Ok(pb::WatchTaskResponse { event, summary: summary.as_ref().map(summary_out) }));
        }
    }
}

/// The stream of a source, until it ends or fails.
pub(crate) fn follow<S: Source>(source: S) -> BoxStream<S::Message> {
    Box::pin(Following(Some(step(source))))
}

type Step<S> = Pin<Box<dyn Future<Output = (Option<Result<<S as Source>::Message, Status>>, S)> + Send>>;

fn step<S: Source>(mut source: S) -> Step<S> {
    Box::pin(async move {
        let item = source.next().await;
        (item, source)
    })
}

struct Following<S: Source>(Option<Step<S>>);

impl<S: Source> Stream for Following<S> {
    type Item = Result<S::Message, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(current) = self.0.as_mut() else { return Poll::Ready(None) };
        let (item, source) = ready!(current.as_mut().poll(cx));
        // After an error nothing follows.
        self.0 = matches!(item, Some(Ok(_))).then(|| step(source));
        Poll::Ready(item)
    }
}
