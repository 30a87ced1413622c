//! The stream behind `WatchTask`: a task's records as events, until its outcome or the server's end.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::OwnedSemaphorePermit;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, codegen::BoxStream};

use crate::{pb, runtime::Watch, types::ids::TaskId};

use super::{
    convert::{event::Reader, task::summary_out},
    status::Fault,
};

/// A task that is being followed.
pub(crate) struct Follow {
    reader: Reader,
    after: u64,
    watch: Watch,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

type Item = Result<pb::WatchTaskResponse, Status>;

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

    /// The next event. `None` after the last, and after an error.
    async fn next(&mut self) -> Option<Item> {
        loop {
            let next = tokio::select! {
                next = self.watch.next() => next?,
                () = self.stop.cancelled() => return Some(Err(Fault::ShuttingDown.to_status())),
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

/// The stream.
pub(crate) fn follow(follow: Follow) -> BoxStream<pb::WatchTaskResponse> {
    Box::pin(Following(Some(step(follow))))
}

type Step = Pin<Box<dyn Future<Output = (Option<Item>, Follow)> + Send>>;

fn step(mut follow: Follow) -> Step {
    Box::pin(async move {
        let item = follow.next().await;
        (item, follow)
    })
}

struct Following(Option<Step>);

impl Stream for Following {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let Some(current) = self.0.as_mut() else { return Poll::Ready(None) };
        let (item, follow) = ready!(current.as_mut().poll(cx));
        // After an error nothing follows.
        self.0 = matches!(item, Some(Ok(_))).then(|| step(follow));
        Poll::Ready(item)
    }
}
