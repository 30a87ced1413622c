//! Every metric: its name, its kind, its labels and what it says. docs/metrics.md is checked against this table. Names and
//! units follow the conventions of Prometheus: seconds, tokens, `_total` behind what only grows.

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, until the server starts anew.
    Counter,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// As the text form names it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric with all its labels.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! families {
    ($($ident:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: Family =
                Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*
        /// Every family, in the order in which they are written.
        pub const ALL: &[&Family] = &[$(&$ident),*];
    };
}

families! {
    BUILD: Gauge "bailiwick_build_info" ["version"] "1, with the server's version.";
    OPEN_TASKS: Gauge "bailiwick_open_tasks" [] "Tasks that have not ended.";
    OPEN_TASKS_MAX: Gauge "bailiwick_open_tasks_max" [] "Tasks that may be open at once; beyond it submissions are refused.";
    DEAD_LETTERS: Gauge "bailiwick_dead_letters_open" [] "Dead letters that are neither redriven nor discarded.";
    HALTS: Gauge "bailiwick_halts_in_force" ["kind"] "Halts in force, by what they stop: all, an agent, or a label.";
    WORKERS: Gauge "bailiwick_workers" ["state"] "Connected workers: active, or draining.";
    WORKER_CREDIT: Gauge "bailiwick_worker_credit" [] "Assignments that workers have asked for and not got, over all workers.";
    AGENT_WORKERS: Gauge "bailiwick_agent_workers" ["agent"] "Workers that serve the agent now.";
    AGENT_WAITING: Gauge "bailiwick_agent_waiting_turns" ["agent"] "Turns that wait for a worker of the agent, back-off included.";
    AGENT_LEASED: Gauge "bailiwick_agent_leased_attempts" ["agent"] "Attempts of the agent that run.";
    AGENT_BREAKER_OPEN: Gauge "bailiwick_agent_breaker_open" ["agent"] "1 while the agent's circuit breaker is open, else 0.";
    AGENT_BREAKER_HALF_OPEN: Gauge "bailiwick_agent_breaker_half_open" ["agent"] "1 while the agent's circuit breaker is half open, else 0.";
    WORKER_BREAKERS: Gauge "bailiwick_worker_breakers" ["state"] "Connected workers by where their circuit breaker stands: closed, half_open, or open.";
    JOURNAL_FAILING: Gauge "bailiwick_journal_failing" [] "1 while the journal takes nothing, and so nothing new is accepted, else 0.";
    JOURNAL_WAITING: Gauge "bailiwick_journal_waiting_submissions" [] "Submissions of the shards that wait for the next commit of the journal.";
    LOG_POSITION: Gauge "bailiwick_log_position" [] "Position of the last entry of the journal's log that is known to be durable.";
    COMMIT_SECONDS: Histogram "bailiwick_commit_duration_seconds" [] "Time that a commit of the journal took, its fsync included.";
    COMMIT_LAST_SECONDS: Gauge "bailiwick_commit_last_duration_seconds" [] "Time that the newest commit took.";
    COMMIT_LAST_APPENDS: Gauge "bailiwick_commit_last_appends" [] "Appends of tasks in the newest commit: the size of its batch.";
    COMMIT_FAILURES: Counter "bailiwick_commit_failures_total" [] "Commits of the journal that failed and kept nothing.";
    COMMIT_TASKS: Counter "bailiwick_commit_appends_total" [] "Appends of tasks in commits that were kept.";
    WEBHOOK_BEHIND: Gauge "bailiwick_webhook_behind" ["webhook"] "Entries of the log that the webhook has still to be told of or to pass.";
    WEBHOOK_FAILING: Gauge "bailiwick_webhook_failing" ["webhook"] "1 while the webhook fails, else 0.";
    WEBHOOK_DELIVERED: Counter "bailiwick_webhook_delivered_total" ["webhook"] "Notices that the webhook has taken.";
    WEBHOOK_SET_ASIDE: Gauge "bailiwick_webhook_set_aside" ["webhook"] "Notices that were set aside, since the database was made.";
    CALLS: Counter "bailiwick_rpc_calls_total" ["method", "code"] "Calls that have ended, streams included.";
    CALL_SECONDS: Histogram "bailiwick_rpc_duration_seconds" ["method"] "Time from a unary call's arrival to the end of its answer.";
    CALLS_OPEN: Gauge "bailiwick_rpc_open_calls" ["method"] "Calls and streams that are open.";
    SUBMITTED: Counter "bailiwick_tasks_submitted_total" [] "Tasks submitted, children and successors of dead letters included.";
    ENDED: Counter "bailiwick_tasks_ended_total" ["owner", "state", "cause"] "Tasks that have ended, by outcome.";
    TOKENS: Counter "bailiwick_tokens_spent_total" ["agent"] "Tokens used, overrun included, counted when their task ends.";
    OVERRUN: Counter "bailiwick_tokens_overrun_total" ["owner"] "Tokens reported beyond the grant, counted when their task ends.";
    COST: Counter "bailiwick_cost_nano_usd_total" ["owner"] "Money used, in nano-USD, counted when its task ends.";
    TURNS: Counter "bailiwick_turns_opened_total" ["agent", "kind"] "Turns that became ready.";
    ATTEMPTS: Counter "bailiwick_attempts_started_total" [] "Attempts leased.";
    ATTEMPTS_ENDED: Counter "bailiwick_attempts_ended_total" ["end"] "Attempts that ended: answered, or how they ended without an answer.";
    HAND_OFFS: Counter "bailiwick_hand_offs_total" [] "Hand-offs accepted.";
    REFUSED: Counter "bailiwick_directives_refused_total" [] "Directives refused.";
    TRIPS: Counter "bailiwick_guard_trips_total" ["cause"] "Guards that tripped.";
    GATE: Counter "bailiwick_gate_judgements_total" ["passed"] "Results that the gate judged.";
    ESCALATIONS: Counter "bailiwick_escalations_total" [] "Questions put to a person.";
    ESCALATIONS_ENDED: Counter "bailiwick_escalations_ended_total" ["end"] "Questions that ended, by how.";
    LATE_USAGE: Counter "bailiwick_late_usage_total" [] "Reports of usage after the fact.";
    CHILDREN: Counter "bailiwick_children_started_total" [] "Children submitted under a lease.";
    REDRIVEN: Counter "bailiwick_dead_letters_redriven_total" [] "Dead letters that a successor was made of.";
    DISCARDED: Counter "bailiwick_dead_letters_discarded_total" [] "Dead letters discarded.";
    FOLLOWED: Gauge "bailiwick_metrics_log_position" [] "Position in the log up to which the counters of this page have counted.";
    UNREADABLE: Counter "bailiwick_metrics_unreadable_events_total" [] "Events that the counters could not read.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_and_stand_in_the_documentation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let page = std::fs::read_to_string(path).expect("docs/metrics.md is there");
        for Family { name, kind, labels, help } in ALL {
            assert!(name.starts_with("bailiwick_") && help.ends_with('.'), "{name}");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let row = format!("| `{name}` | {} | {} | {help} |", kind.word(), labels.join(", "));
            assert!(page.contains(&row), "docs/metrics.md lacks: {row}");
        }
    }
}
