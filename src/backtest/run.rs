//! The pipeline: one thread reads and cuts documents, as many as there are cores parse and work, the caller gets the results in
//! the order of the files, whatever the threads did. Every queue is bounded. Never here: what the work is, or printing.

use std::{
    collections::BTreeMap,
    fs, io,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::{
    fault::{Fault, Place, Wrong},
    otlp::Gatherer,
    read::{Document, Source},
    record,
    trace::Trace,
};

/// What the caller gets, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got<T> {
    /// The work on a trace is done.
    Done(T),
    /// Something could not be read; reading goes on.
    Fault(Fault),
    /// A file of spans has been read to its end; so many of its traces had no work of a model or an agent in them.
    Empty(u64),
}

/// A file that is not there, or that may not be read.
#[derive(Debug, thiserror::Error)]
#[error("{file} cannot be read: {error}")]
pub struct NotThere {
    /// As the user named it.
    pub file: String,
    /// Why.
    pub error: io::Error,
}

/// How far reading is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Bytes read from the disk.
    pub read: Arc<AtomicU64>,
    /// Bytes there are, as far as that is known: standard input counts nothing.
    pub all: u64,
}

impl Progress {
    /// In per cent; `None` where it cannot be known.
    #[must_use]
    pub fn percent(&self) -> Option<u64> {
        let read = self.read.load(Ordering::Relaxed).min(self.all);
        (self.all > 0).then(|| read * 100 / self.all)
    }
}

/// Looks at every file before anything is read, so that a wrong name is said at once.
///
/// # Errors
/// The first file that cannot be opened.
pub fn look(files: &[String]) -> Result<Progress, NotThere> {
    let mut progress = Progress::default();
    for file in files.iter().filter(|file| *file != "-") {
        let size = found(file).map_err(|error| NotThere { file: file.clone(), error })?;
        progress.all += size;
    }
    Ok(progress)
}

/// The size of a file that can be read. A pipe is not touched: what is read of it once is gone.
fn found(file: &str) -> io::Result<u64> {
    let metadata = fs::metadata(file)?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a folder. Name the files in it"));
    }
    if metadata.is_file() {
        fs::File::open(file)?;
    }
    Ok(metadata.len())
}

/// As many threads as there are cores.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Documents that wait for each thread.
const WAITING: usize = 2;

/// What a worker is given.
enum Job {
    Record(Document),
    Run(Box<Trace>),
}

/// Does `work` on every trace of the files and hands what comes of it to `take`, in the order of the files.
pub fn each<T: Send>(
    files: &[String],
    progress: &Progress,
    workers: usize,
    work: impl Fn(Trace) -> T + Sync,
    mut take: impl FnMut(Got<T>),
) {
    let workers = workers.max(1);
    let (jobs, waiting) = sync_channel::<(u64, Job)>(workers * WAITING);
    let (done, results) = sync_channel::<(u64, Got<T>)>(workers * WAITING);
    let waiting = Mutex::new(waiting);
    thread::scope(|scope| {
        for _ in 0..workers {
            let (waiting, done, work) = (&waiting, done.clone(), &work);
            scope.spawn(move || labour(waiting, &done, work));
        }
        let mut reader = Reader { number: 0, jobs, done };
        scope.spawn(move || {
            for file in files {
                // Whoever took the results has gone only if it panicked; there is nothing left to do then.
                if reader.file(file, progress).is_err() {
                    return;
                }
            }
        });
        let mut order = Order::default();
        for (number, got) in results {
            order.put(number, got, &mut take);
        }
    });
}

fn labour<T>(
    waiting: &Mutex<Receiver<(u64, Job)>>,
    done: &SyncSender<(u64, Got<T>)>,
    work: impl Fn(Trace) -> T,
) {
    loop {
        // Held while waiting: the next free worker gets the next job.
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, job)) = job else { return };
        let got = match job {
            Job::Run(run) => Got::Done(work(*run)),
            Job::Record(document) => match record::parse(&document) {
                Ok(run) => Got::Done(work(run)),
                Err(fault) => Got::Fault(fault),
            },
        };
        if done.send((number, got)).is_err() {
            return;
        }
    }
}

/// The other ends are gone.
struct Gone;

/// Cuts files into jobs, numbered in order.
struct Reader<T> {
    number: u64,
    jobs: SyncSender<(u64, Job)>,
    done: SyncSender<(u64, Got<T>)>,
}

impl<T> Reader<T> {
    fn file(&mut self, file: &str, progress: &Progress) -> Result<(), Gone> {
        let source = match Source::open(file, &progress.read) {
            Ok(source) => source,
            Err(error) => {
                let what = Wrong::Unreadable(error.to_string());
                return self.got(Got::Fault(Fault { place: Place::file(&file.into()), what }));
            }
        };
        let mut spans: Option<Gatherer> = None;
        for document in source {
            match document {
                Err(fault) => self.got(Got::Fault(fault))?,
                Ok(document) => match Content::of(&document.bytes) {
                    Content::Record => self.job(Job::Record(document))?,
                    Content::Other(signal) => {
                        let what = Wrong::OtherSignal(signal);
                        self.got(Got::Fault(Fault { place: document.place, what }))?;
                    }
                    Content::Spans => self.spans(spans.get_or_insert_default(), &document)?,
                },
            }
        }
        let Some(gatherer) = spans else { return Ok(()) };
        let mut sent = Ok(());
        let empty = gatherer.finish(|run| {
            if sent.is_ok() {
                sent = self.job(Job::Run(Box::new(run)));
            }
        });
        sent?;
        self.got(Got::Empty(empty))
    }

    fn spans(&mut self, gatherer: &mut Gatherer, document: &Document) -> Result<(), Gone> {
        let (mut runs, mut faults) = (Vec::new(), Vec::new());
        gatherer.add(document, |run| runs.push(run), |fault| faults.push(fault));
        faults.into_iter().try_for_each(|fault| self.got(Got::Fault(fault)))?;
        runs.into_iter().try_for_each(|run| self.job(Job::Run(Box::new(run))))
    }

    fn job(&mut self, job: Job) -> Result<(), Gone> {
        self.number += 1;
        self.jobs.send((self.number, job)).map_err(|_| Gone)
    }

    fn got(&mut self, got: Got<T>) -> Result<(), Gone> {
        self.number += 1;
        self.done.send((self.number, got)).map_err(|_| Gone)
    }
}

/// What a document holds, by its first key.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Record,
    Spans,
    Other(&'static str),
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        let inside = bytes.trim_ascii_start().strip_prefix(b"{").unwrap_or_default();
        let key = inside.trim_ascii_start().strip_prefix(b"\"").unwrap_or_default();
        let begins = |names: [&[u8]; 2]| names.iter().any(|name| key.starts_with(name));
        if begins([b"resourceSpans\"", b"resource_spans\""]) {
            Self::Spans
        } else if begins([b"resourceLogs\"", b"resource_logs\""]) {
            Self::Other("logs")
        } else if begins([b"resourceMetrics\"", b"resource_metrics\""]) {
            Self::Other("metrics")
        } else {
            Self::Record
        }
    }
}

/// Brings results back into the order of their numbers, from 1.
struct Order<T> {
    given: u64,
    early: BTreeMap<u64, T>,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { given: 0, early: BTreeMap::new() }
    }
}

impl<T> Order<T> {
    fn put(&mut self, number: u64, result: T, take: &mut impl FnMut(T)) {
        self.early.insert(number, result);
        while let Some(next) = self.early.remove(&(self.given + 1)) {
            self.given += 1;
            take(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64) -> String {
        format!("{{\"trace_id\":\"{id}\",\"steps\":[]}}\n")
    }

    /// What comes out of files of these contents, in words.
    fn outcome(contents: &[&str], workers: usize) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = |(at, text): (usize, &&str)| {
            let path = folder.path().join(format!("{at}.jsonl"));
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let files: Vec<String> = contents.iter().enumerate().map(file).collect();
        let progress = look(&files).unwrap();
        let mut out = Vec::new();
        let work = |run: Trace| {
            // Later ones are done sooner.
            let id: u32 = run.trace_id.parse().unwrap_or(0);
            (0..(1_000 - id % 1_000) * 20).fold(0_u32, |sum, n| std::hint::black_box(sum ^ n));
            run.trace_id
        };
        each(&files, &progress, workers, work, |got| {
            out.push(match got {
                Got::Done(id) => id,
                Got::Fault(fault) => {
                    let text = fault.to_string();
                    text.strip_prefix(folder.path().to_str().unwrap()).unwrap_or(&text).to_owned()
                }
                Got::Empty(count) => format!("{count} empty"),
            });
        });
        assert_eq!(progress.percent(), contents.iter().any(|text| !text.is_empty()).then_some(100));
        out
    }

    #[test]
    fn results_come_in_the_order_of_the_files_whatever_the_threads_do() {
        let (one, two): (String, String) =
            ((0..500).map(record).collect(), (500..1_000).map(record).collect());
        let expected: Vec<String> = (0..1_000).map(|id| id.to_string()).collect();
        for workers in [0, 1, 2, 7] {
            assert_eq!(outcome(&[&one, &two], workers), expected, "{workers} workers");
        }
    }

    #[test]
    fn a_broken_line_costs_that_line_alone() {
        let text = format!("{}{{\"trace_id\": \n\n[]\n{}", record(1), record(2));
        let got = outcome(&[&text, "", "{\"resourceLogs\":[]}\n"], 2);
        assert_eq!(got[0], "1");
        assert_eq!(got[1], "/0.jsonl:2:12: is not JSON: EOF while parsing a value");
        assert!(got[2].starts_with("/0.jsonl:4: is not a trace"), "{got:?}");
        assert_eq!(got[3..], ["2", "/2.jsonl:1: holds OTLP logs, not spans. Export traces"]);
    }

    #[test]
    fn records_and_spans_may_share_a_file() {
        let chat = r#"{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},
            {"key":"gen_ai.usage.input_tokens","value":{"intValue":"5"}}"#
            .replace('\n', " ");
        let span =
            |trace, fields| format!("{{\"traceId\":\"{trace}\",\"spanId\":\"1\",\"attributes\":[{fields}]}}");
        let spans = format!(
            " {{ \"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{},{}]}}]}}]}}\n",
            span("7", &*chat),
            span("8", "")
        );
        assert_eq!(
            outcome(&[&(spans.clone() + &record(1)), &spans], 2),
            ["1", "7", "1 empty", "7", "1 empty"]
        );
    }

    #[test]
    fn a_missing_file_is_named_before_anything_is_read() {
        let error = look(&["-".to_owned(), "no-such-file.jsonl".to_owned()]).unwrap_err();
        assert!(error.to_string().starts_with("no-such-file.jsonl cannot be read: "), "{error}");
    }
}
