//! The one table of settings. The file's keys, the environment's names, the flags, `serve --help` and the page
//! docs/configuration.md are all made from it, so that they cannot say different things.

use std::time::Duration;

use super::{
    Settings,
    value::{Bounds, Slot},
};

/// One setting.
pub struct Row {
    /// Name in the file; a dot puts it in a table: `ceilings.max_hops`.
    pub key: &'static str,
    /// What it is, in a sentence or two without a default.
    pub help: &'static str,
    /// What it may be.
    pub bounds: Bounds,
    /// Where it is kept.
    pub slot: fn(&mut Settings) -> Slot<'_>,
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const LEASE: Bounds = Bounds::Time(Duration::from_millis(300), seconds(3_600));
const HEARTBEAT: Bounds = Bounds::Time(Duration::from_millis(100), seconds(1_200));
const GRACE: Bounds = Bounds::Time(Duration::ZERO, seconds(600));
const LONG: Bounds = Bounds::Time(seconds(1), seconds(366 * 86_400));
const OPEN: Bounds = Bounds::Time(Duration::from_millis(1), seconds(86_400));
const MILLION: Bounds = Bounds::Count(1, 1_000_000);

/// Every setting, in the order in which it is shown.
pub const ROWS: &[Row] = &[
    Row {
        key: "listen",
        help: "Where the server listens. Anything but a loopback address is refused without `insecure`.",
        bounds: Bounds::Free,
        slot: |s| Slot::Address(&mut s.listen),
    },
    Row {
        key: "data",
        help: "The database: an SQLite file, made when it is not there; docs/database.md says what stands beside it.",
        bounds: Bounds::Free,
        slot: |s| Slot::Path(&mut s.data),
    },
    Row {
        key: "in_memory",
        help: "Keep nothing on disk: every task is gone when the server stops.",
        bounds: Bounds::Free,
        slot: |s| Slot::Switch(&mut s.in_memory),
    },
    Row {
        key: "insecure",
        help: "Allow a listen address that other machines can reach, without TLS and without keys.",
        bounds: Bounds::Free,
        slot: |s| Slot::Switch(&mut s.insecure),
    },
    Row {
        key: "lease_time",
        help: "A worker that is not heard of for this long loses its leases.",
        bounds: LEASE,
        slot: |s| Slot::Time(&mut s.lease_time),
    },
    Row {
        key: "heartbeat_interval",
        help: "How often workers are told to send a heartbeat; at most a third of `lease_time`, which is the default.",
        bounds: HEARTBEAT,
        slot: |s| Slot::DerivedTime(&mut s.heartbeat_interval),
    },
    Row {
        key: "shards",
        help: "Single-writer shards that tasks are spread over. Fixed once a database is made.",
        bounds: Bounds::Count(1, 64),
        slot: |s| Slot::Count(&mut s.shards),
    },
    Row {
        key: "max_open_tasks",
        help: "Tasks that may be open at once; beyond it a submission is told to come back later.",
        bounds: Bounds::Count(1, 10_000_000),
        slot: |s| Slot::Count(&mut s.max_open_tasks),
    },
    Row {
        key: "max_resident_tasks",
        help: "Open tasks kept in memory; the others are read from the database when something happens to them.",
        bounds: Bounds::Count(1, 10_000_000),
        slot: |s| Slot::Count(&mut s.max_resident_tasks),
    },
    Row {
        key: "max_queue",
        help: "Commands that may wait for one shard; beyond it callers are told to come back later.",
        bounds: MILLION,
        slot: |s| Slot::Count(&mut s.max_queue),
    },
    Row {
        key: "max_concurrent_streams",
        help: "Calls that may be open at once on one connection.",
        bounds: Bounds::Count(1, 10_000),
        slot: |s| Slot::Count(&mut s.max_concurrent_streams),
    },
    Row {
        key: "prices",
        help: "A TOML file of what models cost, a table a model: `[\"name\"]` with `input`, `output` and, if it differs, \
               `cached_input`, in nano-USD a token. Without it, contracts with max_cost_nano_usd are refused.",
        bounds: Bounds::Free,
        slot: |s| Slot::OptionalPath(&mut s.prices),
    },
    Row {
        key: "webhooks",
        help: "A TOML file of who is told of questions, guard trips and dead letters, a table a sink: docs/webhooks.md. \
               Without it nobody is.",
        bounds: Bounds::Free,
        slot: |s| Slot::OptionalPath(&mut s.webhooks),
    },
    Row {
        key: "burn_rate",
        help: "A TOML file of how fast tokens and money may go, a table a limit, and what follows when they go faster: a \
               warning or a halt: docs/halt.md. Without it nobody looks.",
        bounds: Bounds::Free,
        slot: |s| Slot::OptionalPath(&mut s.burn_rate),
    },
    Row {
        key: "metrics",
        help: "Where figures for Prometheus are served, as `http://ADDR/metrics`: docs/metrics.md. Without it they are not. \
               Anything but a loopback address is refused without `insecure`.",
        bounds: Bounds::Free,
        slot: |s| Slot::OptionalAddress(&mut s.metrics),
    },
    Row {
        key: "shutdown_grace",
        help: "How long a shutdown may take before what is still open is cut.",
        bounds: GRACE,
        slot: |s| Slot::Time(&mut s.shutdown_grace),
    },
    Row {
        key: "worker_max_concurrency",
        help: "The most attempts one worker is given at once, whatever it asks for.",
        bounds: Bounds::Count(1, 1_000),
        slot: |s| Slot::Count(&mut s.worker_max_concurrency),
    },
    Row {
        key: "max_sessions",
        help: "Worker sessions that may be open at once.",
        bounds: MILLION,
        slot: |s| Slot::Count(&mut s.max_sessions),
    },
    Row {
        key: "max_watches",
        help: "Tasks that may be watched at once, and inboxes as many again; beyond it callers are told to come back later.",
        bounds: MILLION,
        slot: |s| Slot::Count(&mut s.max_watches),
    },
    Row {
        key: "max_watch_mib",
        help: "MiB of events that watchers may hold unread, over all of them; memory is a few times that: docs/hostile.md.",
        bounds: Bounds::Count(8, 65_536),
        slot: |s| Slot::Count(&mut s.max_watch_mib),
    },
    Row {
        key: "forbid_chaos",
        help: "Refuse chaos runs: nobody may make failures between this server and its workers on purpose.",
        bounds: Bounds::Free,
        slot: |s| Slot::Switch(&mut s.forbid_chaos),
    },
    Row {
        key: "log",
        help: "Which log lines are written: error, warn, info, debug or trace, or a filter by module like \
               `info,bailiwick=debug`.",
        bounds: Bounds::Free,
        slot: |s| Slot::Text(&mut s.log),
    },
    Row {
        key: "log_format",
        help: "How log lines are written: text or json. They go to stderr.",
        bounds: Bounds::Free,
        slot: |s| Slot::Format(&mut s.log_format),
    },
    Row {
        key: "breakers.consecutive_failures",
        help: "Technical failures in a row (lost, timed out, retryable) that open a circuit breaker; 0: never for that.",
        bounds: Bounds::Count(0, 1_000),
        slot: |s| Slot::Count(&mut s.breakers.consecutive_failures),
    },
    Row {
        key: "breakers.failure_percent",
        help: "Technical failures, in percent of the last 32 attempts, that open a circuit breaker; 0: never for that.",
        bounds: Bounds::Count(0, 100),
        slot: |s| Slot::Count(&mut s.breakers.failure_percent),
    },
    Row {
        key: "breakers.min_results",
        help: "Attempts before that share means anything.",
        bounds: Bounds::Count(1, 32),
        slot: |s| Slot::Count(&mut s.breakers.min_results),
    },
    Row {
        key: "breakers.open_for",
        help: "How long a circuit breaker stays open the first time; doubles with each opening in a row.",
        bounds: OPEN,
        slot: |s| Slot::Time(&mut s.breakers.open_for),
    },
    Row {
        key: "breakers.open_at_most",
        help: "The longest a circuit breaker stays open.",
        bounds: OPEN,
        slot: |s| Slot::Time(&mut s.breakers.open_at_most),
    },
    Row {
        key: "breakers.probes",
        help: "Attempts that run at once as probes while a circuit breaker is half open.",
        bounds: Bounds::Count(1, 100),
        slot: |s| Slot::Count(&mut s.breakers.probes),
    },
    Row {
        key: "breakers.probes_to_close",
        help: "Probes that must go well before a circuit breaker closes.",
        bounds: Bounds::Count(1, 100),
        slot: |s| Slot::Count(&mut s.breakers.probes_to_close),
    },
    Row {
        key: "bulkheads.agents",
        help: "The most attempts at once of an agent, by name, `*` for all others, like `researcher=4, *=20`.",
        bounds: Bounds::Free,
        slot: |s| Slot::Limits(&mut s.bulkheads.agents),
    },
    Row {
        key: "bulkheads.namespaces",
        help: "The most attempts at once of a namespace, in the same way. Decide turns bypass both.",
        bounds: Bounds::Free,
        slot: |s| Slot::Limits(&mut s.bulkheads.namespaces),
    },
    Row {
        key: "bulkheads.open_tasks",
        help: "The most open tasks of a namespace, in the same way; beyond it a submission is told to come back later.",
        bounds: Bounds::Free,
        slot: |s| Slot::Limits(&mut s.bulkheads.open_tasks),
    },
    Row {
        key: "ceilings.max_tokens",
        help: "The most a contract may ask for as `budget.max_tokens`.",
        bounds: Bounds::Count(1_000, 1_000_000_000_000),
        slot: |s| Slot::Big(&mut s.ceilings.max_tokens),
    },
    Row {
        key: "ceilings.deadline",
        help: "The most a contract may ask for as `limits.deadline`.",
        bounds: LONG,
        slot: |s| Slot::Time(&mut s.ceilings.deadline),
    },
    Row {
        key: "ceilings.max_hops",
        help: "The most a contract may ask for as `limits.max_hops`.",
        bounds: Bounds::Count(0, 1_000_000),
        slot: |s| Slot::Count(&mut s.ceilings.max_hops),
    },
    Row {
        key: "ceilings.max_turns",
        help: "The most a contract may ask for as `limits.max_turns`.",
        bounds: MILLION,
        slot: |s| Slot::Count(&mut s.ceilings.max_turns),
    },
    Row {
        key: "ceilings.max_replans",
        help: "The most a contract may ask for as `limits.max_replans`.",
        bounds: Bounds::Count(0, 1_000_000),
        slot: |s| Slot::Count(&mut s.ceilings.max_replans),
    },
    Row {
        key: "ceilings.max_rounds",
        help: "The most a contract may ask for as `limits.max_rounds`.",
        bounds: MILLION,
        slot: |s| Slot::Count(&mut s.ceilings.max_rounds),
    },
    Row {
        key: "ceilings.max_attempts",
        help: "The most a contract may ask for as `limits.max_attempts`.",
        bounds: Bounds::Count(1, 1_000),
        slot: |s| Slot::Count(&mut s.ceilings.max_attempts),
    },
    Row {
        key: "ceilings.max_parallel",
        help: "The most a contract may ask for as `limits.max_parallel`.",
        bounds: Bounds::Count(1, 10_000),
        slot: |s| Slot::Count(&mut s.ceilings.max_parallel),
    },
    Row {
        key: "ceilings.max_children",
        help: "The most a contract may ask for as `limits.max_children`.",
        bounds: Bounds::Count(1, 1_000_000),
        slot: |s| Slot::Count(&mut s.ceilings.max_children),
    },
    Row {
        key: "ceilings.max_depth",
        help: "The most a contract may ask for as `limits.max_depth`.",
        bounds: Bounds::Count(1, 100),
        slot: |s| Slot::Count(&mut s.ceilings.max_depth),
    },
    Row {
        key: "ceilings.escalation_timeout",
        help: "The most a contract may ask for as `escalation.timeout`.",
        bounds: LONG,
        slot: |s| Slot::Time(&mut s.ceilings.escalation_timeout),
    },
    Row {
        key: "ceilings.max_lifetime",
        help: "The most a contract may ask for as `limits.max_lifetime`.",
        bounds: LONG,
        slot: |s| Slot::Time(&mut s.ceilings.max_lifetime),
    },
];

impl Row {
    /// The name in the environment: `BAILIWICK_CEILINGS_MAX_HOPS`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("BAILIWICK_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// The flag without its dashes: `ceilings-max-hops`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The value in `settings`, as it would be written.
    #[must_use]
    pub fn show(&self, settings: &Settings) -> String {
        (self.slot)(&mut settings.clone()).show()
    }

    /// The default, in words where it is derived.
    #[must_use]
    pub fn default_words(&self) -> String {
        match self.show(&Settings::default()) {
            text if text.is_empty() && self.key == "heartbeat_interval" => "a third of lease_time".to_owned(),
            text if text.is_empty() => "none".to_owned(),
            text => text,
        }
    }

    /// What stands for the value in help.
    #[must_use]
    pub fn placeholder(&self) -> &'static str {
        (self.slot)(&mut Settings::default()).placeholder()
    }

    /// Whether it is a yes or no.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        matches!((self.slot)(&mut Settings::default()), Slot::Switch(_))
    }

    /// The line of a file that says `settings`: `lease_time = "15s"`, with the key below its table.
    #[must_use]
    pub fn file_line(&self, settings: &Settings) -> String {
        let name = self.key.rsplit('.').next().unwrap_or(self.key);
        let mut settings = settings.clone();
        let bare = (self.slot)(&mut settings).bare();
        let text = (self.slot)(&mut settings).show();
        if bare { format!("{name} = {text}") } else { format!("{name} = {text:?}") }
    }
}

/// The row of that key.
#[must_use]
pub fn find(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

/// The known name nearest to `name`, if any is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let within = (name.len() / 3).max(2);
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= within)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insertions, deletions, replacements of one character) between two names.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[right.len()]
}

/// The table of docs/configuration.md.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "| file | environment | flag | default | bounds | what it is |\n|---|---|---|---|---|---|\n",
    );
    for row in ROWS {
        out.push_str(&format!(
            "| `{}` | `{}` | `--{}` | {} | {} | {} |\n",
            row.key,
            row.env(),
            row.flag(),
            row.default_words(),
            row.bounds.words(),
            row.help
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn other_value(row: &Row) -> String {
        match (row.bounds, row.placeholder()) {
            (_, "BOOL") => "true".into(),
            (Bounds::Count(least, _), _) => (least + 3).to_string(),
            (Bounds::Time(least, _), _) => {
                super::super::value::show_duration(least + Duration::from_millis(7))
            }
            (_, "HOST:PORT") => "127.0.0.1:1".into(),
            (_, "text|json") => "json".into(),
            (_, "NAME=N,...") => "a=1, *=2".into(),
            _ => "something".into(),
        }
    }

    #[test]
    fn every_row_changes_its_own_value_and_no_other() {
        let defaults: Vec<String> = ROWS.iter().map(|row| row.show(&Settings::default())).collect();
        for (index, row) in ROWS.iter().enumerate() {
            let mut settings = Settings::default();
            let text = other_value(row);
            (row.slot)(&mut settings).set(&text, row.bounds).unwrap();
            for (other, default) in ROWS.iter().zip(&defaults) {
                let expected = if other.key == row.key { &text } else { default };
                assert_eq!(&other.show(&settings), expected, "{} after {index} {}", other.key, row.key);
            }
            assert_ne!(settings, Settings::default(), "{}", row.key);
        }
    }

    #[test]
    fn no_setting_is_missing_from_the_table() {
        // The Debug form names every field; some are groups of others.
        let debug = format!("{:?}", Settings::default());
        let fields: BTreeSet<&str> = debug
            .split(['{', ',', '}'])
            .filter_map(|part| part.split_once(": ").map(|(name, _)| name.trim()))
            .filter(|name| !matches!(*name, "ceilings" | "breakers" | "bulkheads"))
            .collect();
        let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.key.rsplit('.').next().unwrap()).collect();
        assert_eq!(rows, fields);
    }

    #[test]
    fn defaults_are_within_their_own_bounds() {
        for row in ROWS {
            let text = row.show(&Settings::default());
            if !text.is_empty() {
                (row.slot)(&mut Settings::default()).set(&text, row.bounds).unwrap();
            }
        }
    }

    #[test]
    fn nearest_names() {
        let known = || ROWS.iter().map(|row| row.key);
        assert_eq!(nearest("lease_tme", known()), Some("lease_time"));
        assert_eq!(nearest("ceiling.max_hops", known()), Some("ceilings.max_hops"));
        assert_eq!(nearest("colour", known()), None);
    }

    #[test]
    fn the_page_shows_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, rest) = page.split_once("<!-- table -->\n").unwrap();
        let (shown, tail) = rest.split_once("<!-- /table -->\n").unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let page = format!("{head}<!-- table -->\n{}<!-- /table -->\n{tail}", markdown());
            std::fs::write(path, page).unwrap();
        } else {
            assert_eq!(shown, markdown(), "run this test once with UPDATE_DOCS=1");
        }
    }
}
