//! The file of burn-rate limits: a TOML table a limit. Everything wrong with it is said at once, each fault with its limit.

use std::{fs, path::Path, time::Duration};

use serde::Deserialize;

use crate::{
    runtime::{BurnAction, BurnLimit, BurnOf},
    types::time::Span,
};

/// The most limits.
const MOST_LIMITS: usize = 64;
/// How long a window may be.
const WINDOWS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// How long it is where nothing is said.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    agent: Option<String>,
    #[serde(default)]
    each_agent: bool,
    label: Option<String>,
    each_label: Option<String>,
    #[serde(default)]
    tokens_per_minute: u64,
    #[serde(default)]
    cost_nano_usd_per_minute: u64,
    window: Option<String>,
    action: Option<BurnAction>,
}

/// The limits in a file.
///
/// # Errors
/// Every fault, at once, each with the file and the limit.
pub fn read(file: &Path) -> Result<Vec<BurnLimit>, Vec<String>> {
    let place = |fault: String| format!("{}: {fault}", file.display());
    let text =
        fs::read_to_string(file).map_err(|error| vec![place(format!("it cannot be read: {error}"))])?;
    parse(&text).map_err(|faults| faults.into_iter().map(place).collect())
}

fn parse(text: &str) -> Result<Vec<BurnLimit>, Vec<String>> {
    let table: toml::Table =
        toml::from_str(text).map_err(|error| vec![format!("it is not TOML: {}", error.message())])?;
    let (mut limits, mut faults) = (Vec::new(), Vec::new());
    if table.len() > MOST_LIMITS {
        faults.push(format!("it has {} limits: write at most {MOST_LIMITS}", table.len()));
    }
    for (name, value) in table {
        let row = value.try_into::<Row>().map_err(|error| vec![error.message().to_owned()]);
        match row.and_then(|row| limit(&name, row)) {
            Ok(limit) => limits.push(limit),
            Err(found) => faults.extend(found.into_iter().map(|fault| format!("[{name}] {fault}"))),
        }
    }
    if faults.is_empty() { Ok(limits) } else { Err(faults) }
}

fn limit(name: &str, row: Row) -> Result<BurnLimit, Vec<String>> {
    let Row {
        agent,
        each_agent,
        label,
        each_label,
        tokens_per_minute,
        cost_nano_usd_per_minute,
        window,
        action,
    } = row;
    let mut faults = Vec::new();
    if tokens_per_minute == 0 && cost_nano_usd_per_minute == 0 {
        faults.push("limits nothing: write tokens_per_minute, cost_nano_usd_per_minute or both".to_owned());
    }
    let window = match window.as_deref().map(humantime::parse_duration) {
        None => DEFAULT_WINDOW,
        Some(Ok(window)) if WINDOWS.contains(&window) => window,
        Some(_) => {
            faults.push("window: write a time from 1s to 1h, like \"1m\"".to_owned());
            DEFAULT_WINDOW
        }
    };
    match (of(agent, each_agent, label, each_label), faults.is_empty()) {
        (Ok(of), true) => Ok(BurnLimit {
            name: name.to_owned(),
            of,
            tokens_per_minute,
            cost_per_minute: cost_nano_usd_per_minute,
            window: Span::from(window),
            action: action.unwrap_or(BurnAction::Warn),
        }),
        (Ok(_), false) => Err(faults),
        (Err(fault), _) => Err(faults.into_iter().chain([fault]).collect()),
    }
}

fn of(
    agent: Option<String>,
    each_agent: bool,
    label: Option<String>,
    each_label: Option<String>,
) -> Result<BurnOf, String> {
    match (agent, each_agent, label, each_label) {
        (None, false, None, None) => Ok(BurnOf::Everything),
        (Some(agent), false, None, None) => {
            agent.parse().map(BurnOf::Agent).map_err(|error| format!("agent: {error}"))
        }
        (None, true, None, None) => Ok(BurnOf::EachAgent),
        (None, false, Some(label), None) => match label.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(BurnOf::Label(key.to_owned(), value.to_owned())),
            _ => Err("label: write \"KEY=VALUE\"".to_owned()),
        },
        (None, false, None, Some(key)) if !key.is_empty() => Ok(BurnOf::EachLabel(key)),
        (None, false, None, Some(_)) => Err("each_label: write the key of a label".to_owned()),
        _ => {
            Err("counts several things: write at most one of agent, each_agent, label and each_label"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_their_defaults() {
        let text = "[all]\ntokens_per_minute = 100\n\
                    [agents]\neach_agent = true\ncost_nano_usd_per_minute = 7\nwindow = \"10s\"\naction = \"halt_and_cancel\"\n\
                    [search]\nlabel = \"team=search\"\ntokens_per_minute = 1\naction = \"halt\"\n";
        let limits = parse(text).expect("good limits");
        let by_name =
            |name: &str| limits.iter().find(|limit| limit.name == name).expect("it is there").clone();
        let all = by_name("all");
        assert_eq!(
            (all.of, all.action, all.window),
            (BurnOf::Everything, BurnAction::Warn, Span::from_secs(60))
        );
        let agents = by_name("agents");
        assert_eq!((agents.of, agents.cost_per_minute), (BurnOf::EachAgent, 7));
        assert_eq!((agents.action, agents.window), (BurnAction::HaltAndCancel, Span::from_secs(10)));
        assert_eq!(by_name("search").of, BurnOf::Label("team".to_owned(), "search".to_owned()));
    }

    #[test]
    fn every_fault_is_said_with_its_limit() {
        let text = "[a]\n[b]\ntokens_per_minute = 1\nagent = \"x\"\neach_agent = true\n\
                    [c]\ntokens_per_minute = 1\nwindow = \"2h\"\n[d]\ntokens = 1\n[e]\ntokens_per_minute = 1\nlabel = \"x\"\n";
        let faults = parse(text).expect_err("all of them are wrong");
        let starts: Vec<&str> = faults.iter().map(|fault| &fault[..3]).collect();
        assert_eq!(starts, ["[a]", "[b]", "[c]", "[d]", "[e]"], "{faults:?}");
    }
}
