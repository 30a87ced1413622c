//! The record of agents as the store counts it: named sums, one name for each agent and thing, and what they add up to.
//! Never here: what is counted (the engine says), or how it is kept.

use std::collections::BTreeMap;

use crate::{
    engine::tally::{Judge, Tallied, Tally},
    types::ids::AgentName,
};

/// Before every name, so that other numbers of the store are left alone.
pub(super) const PREFIX: &str = "tally.";
/// Buckets of a calibration curve: tenths of the confidence.
pub const BUCKETS: usize = 10;
/// Fractions are summed in millionths.
const MILLION: f64 = 1_000_000.0;

/// The record of one agent, over all tasks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentRecord {
    /// As a validator.
    pub verdicts: Verdicts,
    /// Of its own results, by judge; only those that have judged any.
    pub curves: BTreeMap<Judge, Curve>,
}

/// How a validator did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Verdicts that agreed.
    pub agreed: u64,
    /// Verdicts that disagreed.
    pub disagreed: u64,
    /// Verdicts that a person bore out.
    pub upheld: u64,
    /// Verdicts that a person overruled.
    pub overruled: u64,
}

/// Confidence said against verdicts given, in ten buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Curve {
    /// From 0 to 0.1, and so on; 1 belongs to the last.
    pub buckets: [Bucket; BUCKETS],
}

/// Results whose confidence fell into one tenth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Results judged.
    pub judged: u64,
    /// Of them, those let pass.
    pub accepted: u64,
    said_millionths: u64,
    brier_millionths: u64,
}

#[allow(clippy::cast_precision_loss)] // Counts of results: far below 2^53.
impl Bucket {
    /// The mean confidence said; 0 where nothing was judged.
    pub fn mean_said(&self) -> f64 {
        self.said_millionths as f64 / MILLION / self.judged.max(1) as f64
    }

    fn distance(&self) -> f64 {
        let accepted = self.accepted as f64 / self.judged.max(1) as f64;
        (accepted - self.mean_said()).abs() * self.judged as f64
    }
}

#[allow(clippy::cast_precision_loss)]
impl Curve {
    /// Results judged.
    pub fn judged(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.judged).sum()
    }

    /// Of them, those let pass.
    pub fn accepted(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.accepted).sum()
    }

    /// The Brier score: the mean squared distance between confidence and verdict, 0 (best) to 1.
    pub fn brier(&self) -> f64 {
        let sum: u64 = self.buckets.iter().map(|bucket| bucket.brier_millionths).sum();
        sum as f64 / MILLION / self.judged().max(1) as f64
    }

    /// The expected calibration error: the mean distance over the buckets, by their weight, 0 (best) to 1.
    pub fn ece(&self) -> f64 {
        self.buckets.iter().map(Bucket::distance).sum::<f64>() / self.judged().max(1) as f64
    }
}

const fn judge_word(judge: Judge) -> &'static str {
    match judge {
        Judge::Gate => "gate",
        Judge::Validator => "validator",
        Judge::Human => "human",
    }
}

/// One sum of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sum {
    agent: AgentName,
    of: Of,
}

/// What is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Verdict(&'static str),
    /// By judge and bucket.
    Result(&'static str, usize, &'static str),
}

impl Sum {
    /// The name under which the store has it. Names of agents have no dots.
    pub(super) fn name(&self) -> String {
        let Self { agent, of } = self;
        match of {
            Of::Verdict(word) => format!("{PREFIX}{agent}.verdict.{word}"),
            Of::Result(judge, bucket, word) => format!("{PREFIX}{agent}.{judge}.{bucket}.{word}"),
        }
    }
}

/// What a tally adds to which sums.
pub(super) fn sums(tally: &Tally) -> impl Iterator<Item = (Sum, u64)> + '_ {
    let Tally { agent, what } = tally;
    let one = |word| [Some((Of::Verdict(word), 1)), None, None, None];
    let sums = match *what {
        Tallied::Verdict { agreed } => one(if agreed { "agreed" } else { "disagreed" }),
        Tallied::Review { upheld } => one(if upheld { "upheld" } else { "overruled" }),
        Tallied::Result { judge, said, accepted } => {
            let said = said.get();
            let verdict = if accepted { 1.0 } else { 0.0 };
            let (judge, bucket) = (judge_word(judge), bucket_of(said));
            let sum = |word, more| Some((Of::Result(judge, bucket, word), more));
            [
                sum("judged", 1),
                sum("said", millionths(said)),
                sum("brier", millionths((said - verdict) * (said - verdict))),
                sum("accepted", 1).filter(|_| accepted),
            ]
        }
    };
    sums.into_iter().flatten().map(|(of, more)| (Sum { agent: agent.clone(), of }, more))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Both from 0 to 1.
fn bucket_of(said: f64) -> usize {
    ((said * 10.0) as usize).min(BUCKETS - 1)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn millionths(fraction: f64) -> u64 {
    (fraction * MILLION).round() as u64
}

/// The records that the store's sums tell. A name that this version does not know is left alone.
pub(super) fn records(sums: impl IntoIterator<Item = (String, u64)>) -> BTreeMap<AgentName, AgentRecord> {
    let mut records = BTreeMap::<AgentName, AgentRecord>::new();
    for (name, sum) in sums {
        let mut parts = name.strip_prefix(PREFIX).into_iter().flat_map(|rest| rest.split('.'));
        let Some(agent) = parts.next().and_then(|agent| agent.parse().ok()) else { continue };
        let rest: Vec<_> = parts.collect();
        note(records.entry(agent).or_default(), &rest, sum);
    }
    records
}

fn note(record: &mut AgentRecord, name: &[&str], sum: u64) {
    let verdicts = &mut record.verdicts;
    match *name {
        ["verdict", "agreed"] => verdicts.agreed = sum,
        ["verdict", "disagreed"] => verdicts.disagreed = sum,
        ["verdict", "upheld"] => verdicts.upheld = sum,
        ["verdict", "overruled"] => verdicts.overruled = sum,
        [judge, bucket, word] => {
            let judge = Judge::ALL.into_iter().find(|known| judge_word(*known) == judge);
            let bucket = bucket.parse::<usize>().ok().filter(|bucket| *bucket < BUCKETS);
            let (Some(judge), Some(bucket)) = (judge, bucket) else { return };
            let bucket = &mut record.curves.entry(judge).or_default().buckets[bucket];
            match word {
                "judged" => bucket.judged = sum,
                "accepted" => bucket.accepted = sum,
                "said" => bucket.said_millionths = sum,
                "brier" => bucket.brier_millionths = sum,
                _ => {}
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::envelope::Confidence;

    fn add(store: &mut BTreeMap<String, u64>, agent: &str, what: Tallied) {
        let tally = Tally { agent: agent.parse().expect("a name"), what };
        for (name, more) in sums(&tally) {
            *store.entry(name.name()).or_default() += more;
        }
    }

    #[test]
    fn sums_become_curves_with_their_scores() {
        let mut store = BTreeMap::from([("trace_cursor".to_owned(), 7), (format!("{PREFIX}writer.new"), 3)]);
        let said = |number| Confidence::new(number).expect("0 to 1");
        for (number, accepted) in [(0.95, true), (0.95, true), (0.9, false), (1.0, true), (0.2, false)] {
            let judge = Judge::Human;
            add(&mut store, "writer", Tallied::Result { judge, said: said(number), accepted });
        }
        add(&mut store, "judge", Tallied::Verdict { agreed: true });
        add(&mut store, "judge", Tallied::Review { upheld: false });
        let records = records(store);
        let record = |name: &str| records[&name.parse::<AgentName>().expect("a name")].clone();
        let curve = record("writer").curves[&Judge::Human];
        assert_eq!((curve.judged(), curve.accepted()), (5, 3));
        assert_eq!((curve.buckets[9].judged, curve.buckets[2].judged), (4, 1));
        assert!((curve.buckets[9].mean_said() - 0.95).abs() < 1e-9);
        // (0.05^2 + 0.05^2 + 0.9^2 + 0 + 0.2^2) / 5, and (4 * |0.75 - 0.95| + 1 * 0.2) / 5.
        assert!((curve.brier() - 0.171).abs() < 1e-6, "{}", curve.brier());
        assert!((curve.ece() - 0.2).abs() < 1e-6, "{}", curve.ece());
        let verdicts = Verdicts { agreed: 1, overruled: 1, ..Verdicts::default() };
        assert_eq!(record("judge"), AgentRecord { verdicts, curves: BTreeMap::new() });
        assert_eq!(Curve::default().brier(), 0.0);
    }
}
