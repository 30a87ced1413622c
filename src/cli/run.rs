//! The three commands that are more than a client: where the command line meets the server, the demo and the conformance
//! run. Only arguments are translated here.

use std::time::Duration;

use super::{
    Exit, Failure, compose,
    conformance::ConformanceArgs,
    demo::{CrewArgs, DemoArgs},
    files,
    terminal::Terminal,
};
use crate::{
    app::{self, AppError, Ended},
    config::Settings,
    conformance as cases,
    demo::{self, DemoOptions},
    runtime::StartError,
    telemetry::logging,
};

/// Runs the server until it is told to stop. Says where it listens in one line on stdout.
///
/// # Errors
/// When it cannot start, or had to be cut off.
pub async fn serve(settings: Settings, terminal: &Terminal) -> Result<(), Failure> {
    let compose::Composed { app: options, log, log_format } = compose::compose(settings)?;
    logging::init(log_format, &log).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let (files, sessions) = (files::raise(), options.runtime.max_sessions);
    let running = app::serve(options).await.map_err(|error| not_started(&error))?;
    if let Some(files) = files.filter(|files| *files <= sessions as u64) {
        terminal.note(format!(
            "at most {files} files may be open, and a connection is one: with that many workers on connections of their own, \
             none is left for others (max_sessions is {sessions}; the shell's `ulimit -Hn` raises the limit)"
        ));
    }
    terminal.line(format!("bailiwick listens on http://{}", running.local_addr()))?;
    if let Some(addr) = running.metrics_addr() {
        terminal.note(format!("metrics are at http://{addr}/metrics"));
    }
    let ended = app::run_until_signal(running, |grace| say_stopping(terminal, grace))
        .await
        .map_err(|error| not_started(&error))?;
    match ended {
        Ended::Asked(report) if report.clean => Ok(()),
        Ended::Asked(report) => Err(Failure::new(
            Exit::Error,
            format!("the shutdown was cut off in: {}; the next start recovers", report.aborted.join(", ")),
        )),
        Ended::Failed(what, _) => Err(Failure::new(Exit::Error, format!("stopped, because {what}"))),
        Ended::Forced => Err(Failure::new(Exit::Error, "stopped at once; the next start recovers")),
    }
}

fn say_stopping(terminal: &Terminal, grace: Duration) {
    let grace = humantime::format_duration(grace);
    terminal.note(format!(
        "stopping: commits are finished and connections closed, within {grace}; a second signal stops at once"
    ));
}

fn not_started(error: &AppError) -> Failure {
    let exit = match error {
        AppError::Start(StartError::Options(_) | StartError::Shards { .. })
        | AppError::Traces(_)
        | AppError::Webhooks(_) => Exit::Usage,
        AppError::Start(_)
        | AppError::Bind { .. }
        | AppError::Open { .. }
        | AppError::Metrics(_)
        | AppError::Serve(_)
        | AppError::Signals(_) => Exit::Error,
    };
    Failure::new(exit, error.to_string())
}

/// Runs the demo.
///
/// # Errors
/// When it could not be run, or was interrupted.
pub async fn demo(args: DemoArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let DemoArgs { dir, audit_only, json, yes, keep, languages, workers, setup_limit } = args;
    let options = DemoOptions { dir, scenes: !audit_only, json, yes, keep, languages, workers, setup_limit };
    demo::run(options, terminal).await
}

/// Is a process of the demo's crew.
///
/// # Errors
/// When the worker cannot be set up or fails.
pub async fn crew(args: CrewArgs) -> Result<Exit, Failure> {
    let CrewArgs { role, guard } = args;
    match (role, guard) {
        (Some(role), _) => demo::crew::serve(role).await,
        (None, Some(script)) => demo::guard::run(&script).await,
        (None, None) => Err(Failure::new(Exit::Usage, "name a role or a script to guard")),
    }
}

/// Drives a worker through the cases of the protocol.
///
/// # Errors
/// When it could not be run.
pub async fn conformance(args: ConformanceArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let ConformanceArgs { json, junit, list, only, table, command } = args;
    if list {
        cases::print_list();
        return Ok(Exit::Ok);
    }
    if !table.is_empty() {
        let table =
            cases::Table::read(&table).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        terminal.line(table.render())?;
        return Ok(if table.passed() { Exit::Ok } else { Exit::Error });
    }
    let on_case: Option<fn(&cases::CaseReport)> = if json { None } else { Some(cases::print_case) };
    let options = cases::Options { only, on_case, ..cases::Options::new(command) };
    let report = cases::run(options).await.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    if json {
        terminal.line(report.to_json())?;
    } else {
        cases::print_summary(&report);
    }
    if let Some(file) = junit {
        std::fs::write(&file, report.to_junit()).map_err(|error| {
            Failure::new(Exit::Error, format!("{} cannot be written: {error}", file.display()))
        })?;
    }
    Ok(if report.passed() { Exit::Ok } else { Exit::Error })
}
