//! The specialists of other languages: which there are, where their scripts stand, and their set-up, all at once and
//! within a time limit. One that is missing or fails is named with its reason, never an error.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use clap::ValueEnum;
use tokio::{io::AsyncReadExt as _, process::Command, task::JoinSet, time::Instant};

use super::{processes::kill_group, show::Show};
use crate::{cli::Failure, console::text};

/// A language of the crew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Language {
    /// Part of this binary: planner, reviewer, lead, and the specialists structure and unfinished.
    Rust,
    /// The specialist `summary`.
    Python,
    /// The specialist `links`.
    Typescript,
    /// The specialist `twins`.
    Go,
    /// The specialist `licences`.
    Java,
}

impl Language {
    /// As people write it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Typescript => "TypeScript",
            Self::Go => "Go",
            Self::Java => "Java",
        }
    }

    /// The folder of its worker.
    const fn folder(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Typescript => "typescript",
            Self::Go => "go",
            Self::Java => "java",
        }
    }

    /// The specialist that its example is.
    pub(super) const fn agent(self) -> &'static str {
        match self {
            Self::Rust => "structure",
            Self::Python => "summary",
            Self::Typescript => "links",
            Self::Go => "twins",
            Self::Java => "licences",
        }
    }
}

/// A worker that is set up.
pub(super) struct Ready {
    pub(super) language: Language,
    pub(super) script: PathBuf,
}

/// A language that takes no part, and why.
#[derive(Clone, Debug)]
pub(super) struct Skipped {
    pub(super) language: Language,
    pub(super) reason: String,
}

/// Sets up the workers of `wanted` at once. Those that are not ready within `limit` are skipped.
pub(super) async fn set_up(
    wanted: &[Language],
    workers: Option<&Path>,
    limit: Duration,
    show: &mut Show<'_>,
) -> Result<(Vec<Ready>, Vec<Skipped>), Failure> {
    let (mut ready, mut skipped, mut running) = (Vec::new(), Vec::new(), JoinSet::new());
    let folder = find(workers);
    for &language in wanted.iter().filter(|language| **language != Language::Rust) {
        let script = folder.as_deref().map(|folder| folder.join(language.folder()).join("run"));
        match script.filter(|script| script.is_file()) {
            None => {
                let reason = match (&folder, workers) {
                    (Some(folder), _) => format!("no {}/run in {}", language.folder(), folder.display()),
                    (None, Some(workers)) => format!("{} is no folder of workers", workers.display()),
                    (None, None) => "no workers-examples here or above; name it with --workers".to_owned(),
                };
                skipped.push(Skipped { language, reason });
            }
            Some(script) => {
                running.spawn(async move {
                    let start = Instant::now();
                    let done = set_up_one(&script, limit).await;
                    (language, script, start.elapsed(), done)
                });
            }
        }
    }
    for Skipped { language, reason } in &skipped {
        show.say(format!("  {:<11} skipped: {reason}", language.title()))?;
    }
    if !running.is_empty() {
        let limit = humantime::format_duration(limit);
        show.say(format!(
            "  setting up {} more, at most {limit} each; long only the first time",
            running.len()
        ))?;
    }
    while !running.is_empty() {
        show.progress(&format!("setting up {} more (at most {}s)", running.len(), limit.as_secs()));
        let Some(Ok((language, script, took, done))) = running.join_next().await else { continue };
        match done {
            Ok(()) => {
                let took = text::span(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
                show.say(format!("  {:<11} ready after {took}: {}", language.title(), language.agent()))?;
                ready.push(Ready { language, script });
            }
            Err(reason) => {
                show.say(format!("  {:<11} skipped: {reason}", language.title()))?;
                skipped.push(Skipped { language, reason });
            }
        }
    }
    show.progress_done();
    ready.sort_by_key(|one| one.language);
    skipped.sort_by_key(|one| one.language);
    Ok((ready, skipped))
}

/// Runs `run --setup`. The reason where it fails.
async fn set_up_one(script: &Path, limit: Duration) -> Result<(), String> {
    let mut child = Command::new(script)
        .arg("--setup")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("its script cannot be run: {error}"))?;
    let stderr = child.stderr.take();
    let reading = async {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            // What could not be read is missing from a reason, no more.
            let _ = stderr.take(1 << 20).read_to_end(&mut said).await;
        }
        String::from_utf8_lossy(&said).into_owned()
    };
    let done = tokio::time::timeout(limit, async { tokio::join!(child.wait(), reading) }).await;
    match done {
        Ok((Ok(status), _)) if status.success() => Ok(()),
        Ok((status, said)) => {
            let last =
                said.lines().rev().find(|line| !line.trim().is_empty()).map(|line| text::clip(line, 200));
            Err(last.unwrap_or_else(|| match status {
                Ok(status) => format!("its set-up ended with {status}"),
                Err(error) => format!("its set-up was lost: {error}"),
            }))
        }
        Err(_) => {
            kill_group(&child);
            let _ = child.wait().await;
            Err(format!("its set-up took more than {}s; the next run goes on where it was", limit.as_secs()))
        }
    }
}

/// The folder of workers: as said, or beside or above the current folder or this binary.
fn find(said: Option<&Path>) -> Option<PathBuf> {
    if let Some(said) = said {
        return said.canonicalize().ok().filter(|folder| folder.is_dir());
    }
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    starts.iter().flatten().flat_map(|start| start.ancestors()).find_map(|folder| {
        let folder = folder.join("workers-examples");
        folder.is_dir().then_some(folder)
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    async fn check(script: &str, limit: Duration, expected: Result<(), &str>) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("run");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("files");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("files");
        let done = set_up_one(&path, limit).await;
        match (&done, expected) {
            (Ok(()), Ok(())) => {}
            (Err(found), Err(expected)) if found.contains(expected) => {}
            _ => panic!("{script}: {done:?}"),
        }
    }

    #[tokio::test]
    async fn a_set_up_that_fails_gives_its_own_reason() {
        let long = Duration::from_secs(60);
        check("exit 0", long, Ok(())).await;
        check("echo noise >&2; echo 'needs Go 1.24' >&2; exit 69", long, Err("needs Go 1.24")).await;
        check("exit 3", long, Err("exit status: 3")).await;
        check("sleep 600 & sleep 600", Duration::from_millis(50), Err("took more than")).await;
    }

    #[test]
    fn a_folder_that_was_named_is_not_looked_for_elsewhere() {
        assert_eq!(find(Some(Path::new("/nowhere/at/all"))), None);
    }
}
