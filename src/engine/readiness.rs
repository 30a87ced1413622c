//! The ten-point readiness list of the README, for one contract on one server. Honest: what is not there yet says so.
//! Never here: how the facts of the server are found. They come in.

use Readiness::{Absent, Enforced, Weak};

use std::collections::BTreeMap;

use super::{mast::says_something, words};
use crate::types::{
    chaos::{self, CrewTested},
    contract::{Budget, Contract, DefaultAnswer, Escalation, Gate, Limits, OwnerFallback, Start},
    drill::{COUNTS_FOR, Drill},
    ids::AgentName,
    time::{Span, Timestamp},
};

/// How well a point is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The server enforces it for this contract.
    Enforced,
    /// Met in part.
    Weak,
    /// Not met, or not there yet.
    Absent,
}

/// What a server knows of a thing that somebody must have done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fact<T> {
    /// No server was asked, or it could not say.
    #[default]
    Unknown,
    /// It was never done.
    Never,
    /// The last time it was done.
    Last(T),
}

/// What the list needs to know beside the contract.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerFacts {
    /// The time.
    pub now: Timestamp,
    /// The last drill that is over.
    pub last_drill: Fact<Drill>,
    /// What chaos runs say of the agents that the contract gives work to.
    pub last_chaos: Fact<CrewTested>,
    /// What agents have declared of themselves. Who is not in it has declared nothing.
    pub declared: BTreeMap<AgentName, Declares>,
}

/// Which schemas an agent has declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Declares {
    /// Of what it takes.
    pub input_schema: bool,
    /// Of what it answers.
    pub output_schema: bool,
}

/// One point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// 1 to 10.
    pub number: u32,
    /// The point.
    pub title: &'static str,
    /// How well it is met.
    pub readiness: Readiness,
    /// What enforces it, or what to add.
    pub advice: String,
}

/// The ten points for a contract on a server.
pub fn points(contract: &Contract, facts: &ServerFacts) -> Vec<Point> {
    let Contract { budget, limits, escalation, .. } = contract;
    let rows: [(&'static str, Verdict); 10] = [
        ("hard token budget per task and per turn", budget_point(budget)),
        ("global hop counter with a hard cap", hops_point(limits)),
        ("wall-clock deadline on the whole task", deadline_point(limits)),
        ("explicit owner", owner_point(contract)),
        (
            "typed envelopes",
            (
                Enforced,
                "every turn is answered by a StatusEnvelope, a Decision or a Verdict; anything else is refused"
                    .to_owned(),
            ),
        ),
        ("re-plan, not just retry", replan_point(contract)),
        ("gate with a confidence threshold", gate_point(contract)),
        ("human escalation path that has been drilled", human_point(escalation, facts)),
        ("termination criteria before anything runs", termination_point(contract)),
        ("load-tested with deliberate worker failures", chaos_point(facts)),
    ];
    (1..)
        .zip(rows)
        .map(|(number, (title, (readiness, advice)))| Point { number, title, readiness, advice })
        .collect()
}

type Verdict = (Readiness, String);

fn budget_point(budget: &Budget) -> Verdict {
    let Budget { max_tokens, max_tokens_per_turn, finalization_reserve, .. } = budget;
    let work = max_tokens.saturating_sub(*finalization_reserve);
    let caps = format!(
        "{} tokens in all, {} a turn, reserved before they are spent",
        words::number(*max_tokens),
        words::number(*max_tokens_per_turn)
    );
    if *max_tokens_per_turn >= work {
        let less = words::number((work / 4).max(1));
        return (
            Weak,
            format!("{caps}; one turn may take all of it: set budget.max_tokens_per_turn, such as {less}"),
        );
    }
    (Enforced, caps)
}

fn hops_point(limits: &Limits) -> Verdict {
    let hops = words::count(limits.max_hops, "hop");
    (Enforced, format!("the server counts, children included: {hops} at most"))
}

fn deadline_point(limits: &Limits) -> Verdict {
    let Limits { deadline, finalization_reserve, max_lifetime, .. } = limits;
    (
        Enforced,
        format!(
            "{}, the last {} of it for the owner's decision; waiting for people included, {} at most",
            words::span(*deadline),
            words::span(*finalization_reserve),
            words::span(*max_lifetime)
        ),
    )
}

fn owner_point(contract: &Contract) -> Verdict {
    let Contract { owner, budget, escalation, .. } = contract;
    let reserve = words::number(budget.finalization_reserve);
    let asks = escalation.owner_fallback == OwnerFallback::Escalate && escalation.max_escalations > 0;
    let else_ = if asks { "a person" } else { "the best result so far ends it" };
    (
        Enforced,
        format!("{owner} decides when a guard trips, paid from a reserve of {reserve} tokens; else {else_}"),
    )
}

fn termination_point(contract: &Contract) -> Verdict {
    let fixed = format!("fixed at intake and sent with every turn: {}", criteria(contract));
    let mut add = Vec::new();
    let vague = contract.result_schema.as_ref().is_some_and(|schema| !says_something(schema));
    if vague && contract.acceptance.is_empty() && contract.convergence.is_none() {
        add.push("say in result_schema which fields a finished result has".to_owned());
    }
    let guards = &contract.guards;
    let switches = [
        ("repetition", guards.repetition.on),
        ("finished", guards.finished.on),
        ("drafts", guards.drafts.on),
    ];
    let off: Vec<_> =
        switches.iter().filter(|(_, on)| !on).map(|(guard, _)| format!("guards.{guard}")).collect();
    if !off.is_empty() {
        add.push(format!("switch {} on again", words::list(off)));
    }
    if add.is_empty() { (Enforced, fixed) } else { (Weak, format!("{fixed}; {}", add.join("; "))) }
}

fn gate_point(contract: &Contract) -> Verdict {
    let Gate { min_confidence, max_revisions: _, validator, spot_check_rate } = &contract.gate;
    let mut stands = vec![criteria(contract)];
    if min_confidence.get() > 0.0 {
        stands.insert(0, format!("min_confidence {}", min_confidence.get()));
    }
    stands.extend(validator.as_ref().map(|validator| format!("the validator {validator}")));
    if *spot_check_rate > 0.0 {
        stands.push(format!("a person for {} of all results", words::percent(*spot_check_rate)));
    }
    let stands = format!("before SUCCEEDED: {}", stands.join(", "));
    if min_confidence.get() > 0.0 {
        return (Enforced, stands);
    }
    let also = if validator.is_none() { ", and gate.validator for what no rule can tell" } else { "" };
    (Weak, format!("{stands}; set gate.min_confidence{also}"))
}

/// What tells a finished result, in words.
fn criteria(contract: &Contract) -> String {
    let mut parts = Vec::new();
    if contract.result_schema.is_some() {
        parts.push("result_schema".to_owned());
    }
    match contract.acceptance.len() {
        0 => {}
        1 => parts.push("1 acceptance rule".to_owned()),
        rules => parts.push(format!("{rules} acceptance rules")),
    }
    if contract.convergence.is_some() {
        parts.push("convergence".to_owned());
    }
    parts.join(", ")
}

fn human_point(escalation: &Escalation, facts: &ServerFacts) -> Verdict {
    let Escalation { max_escalations: most, timeout, default_answer, .. } = escalation;
    if *most == 0 {
        return (
            Absent,
            "max_escalations is 0, nobody is ever asked: set it to 1 or more, then `bailiwick drill`"
                .to_owned(),
        );
    }
    let (readiness, drilled) = drilled(facts);
    let (questions, open) = (words::count(*most, "question"), words::span(*timeout));
    let then = match default_answer {
        DefaultAnswer::Partial => "PARTIAL",
        DefaultAnswer::Abort => "FAILED",
    };
    (readiness, format!("{drilled}; up to {questions}, {open} each, then {then}"))
}

/// Whether somebody has been reached lately.
fn drilled(facts: &ServerFacts) -> Verdict {
    let drill = match &facts.last_drill {
        Fact::Unknown => return (Weak, "the date of the last drill is unknown: ask a server".to_owned()),
        Fact::Never => {
            return (Weak, "never drilled: run `bailiwick drill` and have somebody answer".to_owned());
        }
        Fact::Last(drill) => drill,
    };
    let Some(answer) = &drill.answered else {
        let asked = drill.asked_at.date();
        return (
            Weak,
            format!("nobody answered the last drill, of {asked}: find out why, then `bailiwick drill`"),
        );
    };
    let (on, took) = (answer.at.date(), Span::from_secs(answer.at.since(drill.asked_at).0 / 1_000_000));
    let told = format!("drilled on {on}, {} answered after {}", answer.by, words::span(took));
    let age = facts.now.since(answer.at);
    if age <= COUNTS_FOR {
        return (Enforced, told);
    }
    let (days, most) = (age.0 / DAY.0, COUNTS_FOR.0 / DAY.0);
    (Weak, format!("{told}, {days} days ago; a drill counts for {most} days: run `bailiwick drill` again"))
}

/// A day.
const DAY: Span = Span::from_secs(86_400);

fn chaos_point(facts: &ServerFacts) -> Verdict {
    let tested = match &facts.last_chaos {
        Fact::Unknown => {
            return (
                Weak,
                "whether there was a run with deliberate failures is unknown: ask a server".to_owned(),
            );
        }
        Fact::Never => {
            let add = "run `bailiwick chaos --server ADDR --contract FILE`";
            return (Absent, format!("no run with deliberate failures is recorded for this crew: {add}"));
        }
        Fact::Last(tested) => tested,
    };
    let CrewTested { at, failed, untested } = tested;
    let on = at.date();
    if !failed.is_empty() {
        let agents = words::list(failed);
        return (
            Absent,
            format!("the last run of {agents}, of {on}, failed: see why, then run `bailiwick chaos` again"),
        );
    }
    if !untested.is_empty() {
        let agents = words::list(untested);
        return (Weak, format!("last run on {on}, without {agents}: run `bailiwick chaos` with them"));
    }
    let age = facts.now.since(*at);
    if age <= chaos::COUNTS_FOR {
        return (Enforced, format!("last run on {on}, passed"));
    }
    let (days, most) = (age.0 / DAY.0, chaos::COUNTS_FOR.0 / DAY.0);
    (
        Weak,
        format!(
            "last run on {on}, {days} days ago; a run counts for {most} days: run `bailiwick chaos` again"
        ),
    )
}

fn replan_point(contract: &Contract) -> Verdict {
    let most = contract.limits.max_replans;
    if most == 0 {
        return (
            Weak,
            "max_replans is 0, a failure only ends the task: set limits.max_replans to 1 or more".to_owned(),
        );
    }
    let replans = words::count(most, "re-plan");
    let who = match &contract.start {
        Start::FirstAgent(_) => "a failed plan returns to its planner",
        Start::Plan(_) => "a failed plan goes to the owner, which may plan anew",
    };
    (Enforced, format!("{who}, {replans} at most; only technical failures are retried"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        contract::{DefaultAnswer, OwnerFallback},
        drill::DrillAnswer,
        ids::TaskId,
    };

    const NOON: Timestamp = Timestamp(1_790_000_000_000_000);

    fn point(max_escalations: u32, last_drill: Fact<Drill>, age: Span) -> Verdict {
        let escalation = Escalation {
            timeout: Span::from_secs(60),
            default_answer: DefaultAnswer::Partial,
            max_escalations,
            owner_fallback: OwnerFallback::Escalate,
        };
        human_point(&escalation, &ServerFacts { now: NOON.plus(age), last_drill, ..ServerFacts::default() })
    }

    fn drill(answered: bool) -> Fact<Drill> {
        let at = NOON.plus(Span::from_millis(42_500));
        let answered = answered.then(|| DrillAnswer { by: "ann".to_owned(), at });
        Fact::Last(Drill { task: TaskId::with_shard(uuid::Uuid::nil(), 0), asked_at: NOON, answered })
    }

    #[test]
    fn the_human_path_counts_as_drilled_for_ninety_days() {
        let check = |last_drill, days: u64, readiness, says: &str| {
            let (found, advice) = point(3, last_drill, DAY.times(days));
            assert_eq!(found, readiness, "{advice}");
            assert!(advice.contains(says), "{advice}");
        };
        check(
            drill(true),
            1,
            Enforced,
            "drilled on 2026-09-21, ann answered after 42 seconds; up to 3 questions, 1 minute each, then PARTIAL",
        );
        check(drill(true), 90, Enforced, "2026-09-21");
        check(drill(true), 91, Weak, "90 days ago; a drill counts for 90 days: run `bailiwick drill` again");
        check(drill(false), 1, Weak, "nobody answered the last drill, of 2026-09-21");
        check(Fact::Never, 0, Weak, "never drilled: run `bailiwick drill`");
        check(Fact::Unknown, 0, Weak, "unknown: ask a server");
        assert_eq!(point(0, drill(true), DAY).0, Absent);
    }
}
