//! The ten-point readiness list of the README, for one contract on one server. Honest: what is not there yet says so.
//! Never here: how the facts of the server are found. They come in.

use Readiness::{Absent, Enforced, Weak};

use crate::types::{
    contract::{Contract, Escalation, Gate, Limits},
    drill::{COUNTS_FOR, Drill},
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
    /// When a crew was last tested with deliberate failures. No version records this yet.
    pub last_chaos: Fact<Timestamp>,
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
    let Contract { budget, limits, gate, escalation, .. } = contract;
    let rows: [(&'static str, (Readiness, String)); 10] = [
        (
            "hard token budget per task and per turn",
            (
                Enforced,
                format!(
                    "{} tokens in all, {} a turn, reserved before they are spent",
                    budget.max_tokens, budget.max_tokens_per_turn
                ),
            ),
        ),
        (
            "global hop counter with a hard cap",
            (Enforced, format!("the server counts; {} hops at most", limits.max_hops)),
        ),
        (
            "wall-clock deadline on the whole task",
            (
                Enforced,
                format!(
                    "{}, {} of it for the owner's decision",
                    limits.deadline, limits.finalization_reserve
                ),
            ),
        ),
        ("explicit owner", (Enforced, format!("{} decides when a guard trips", contract.owner))),
        (
            "typed envelopes",
            (Enforced, "every turn is answered by a StatusEnvelope or a Decision".to_owned()),
        ),
        ("re-plan, not just retry", replan_point(limits)),
        ("gate with a confidence threshold", gate_point(gate)),
        ("human escalation path that has been drilled", human_point(escalation, facts)),
        (
            "termination criteria before anything runs",
            (Enforced, "result_schema is fixed at intake and sent with every turn".to_owned()),
        ),
        ("load-tested with deliberate worker failures", chaos_point(facts)),
    ];
    (1..)
        .zip(rows)
        .map(|(number, (title, (readiness, advice)))| Point { number, title, readiness, advice })
        .collect()
}

type Verdict = (Readiness, String);

fn gate_point(gate: &Gate) -> Verdict {
    if gate.min_confidence.get() > 0.0 {
        (
            Enforced,
            format!("min_confidence {} and result_schema stand before SUCCEEDED", gate.min_confidence.get()),
        )
    } else {
        (Weak, "only result_schema stands before SUCCEEDED: set gate.min_confidence".to_owned())
    }
}

fn human_point(escalation: &Escalation, facts: &ServerFacts) -> Verdict {
    if escalation.max_escalations == 0 {
        return (Absent, "max_escalations is 0: nobody is ever asked".to_owned());
    }
    let (readiness, drilled) = drilled(facts);
    let Escalation { max_escalations: most, timeout, default_answer, .. } = escalation;
    (readiness, format!("{drilled}; up to {most} questions, {timeout} each, then {default_answer:?}"))
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
    let words = format!("drilled on {on}, {} answered after {took}", answer.by);
    let age = facts.now.since(answer.at);
    if age <= COUNTS_FOR {
        return (Enforced, words);
    }
    let (days, most) = (age.0 / DAY.0, COUNTS_FOR.0 / DAY.0);
    (Weak, format!("{words}, {days} days ago; a drill counts for {most} days: run `bailiwick drill` again"))
}

/// A day.
const DAY: Span = Span::from_secs(86_400);

fn chaos_point(facts: &ServerFacts) -> Verdict {
    match &facts.last_chaos {
        Fact::Unknown | Fact::Never => {
            (Absent, "no chaos run is recorded yet: `bailiwick chaos` is coming".to_owned())
        }
        Fact::Last(at) => (Enforced, format!("last run on {}", at.date())),
    }
}

fn replan_point(limits: &Limits) -> Verdict {
    if limits.max_replans > 0 {
        (Enforced, format!("a failed plan returns to its planner, {} re-plans at most", limits.max_replans))
    } else {
        (Weak, "max_replans is 0: a failure goes straight to the owner".to_owned())
    }
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
            "drilled on 2026-09-21, ann answered after 42s; up to 3 questions, 60s each",
        );
        check(drill(true), 90, Enforced, "2026-09-21");
        check(drill(true), 91, Weak, "90 days ago; a drill counts for 90 days: run `bailiwick drill` again");
        check(drill(false), 1, Weak, "nobody answered the last drill, of 2026-09-21");
        check(Fact::Never, 0, Weak, "never drilled: run `bailiwick drill`");
        check(Fact::Unknown, 0, Weak, "unknown: ask a server");
        assert_eq!(point(0, drill(true), DAY).0, Absent);
    }
}
