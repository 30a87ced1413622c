//! What clients see of a task: views of the engine, out.

use prost::Message as _;

use crate::{
    engine::{
        event::{Outcome, Pattern, Trip},
        family::Parent,
        ledger::LedgerView,
        mast::Mode,
        readiness::Point,
        view::{BestView, ChildView, Counters, SummaryView, TaskView, Tripped},
    },
    pb,
    runtime::Waits,
    types::{ids::TurnNumber, outcome::EndedBy, trace_ids},
};

use super::{
    super::MAX_MESSAGE_BYTES,
    circuit::waiting_out,
    contract::contract_out,
    dead_letter::{redrives_out, status_out},
    enums, int32, int64,
    time::wire,
    turns::turns_out,
    value::value,
};

/// What a task takes at most with what its turns answered, in bytes: clients take 4 MiB unless told otherwise, and whoever
/// reads everything that a task has ever said does so event by event.
const MAX_TASK_BYTES: usize = MAX_MESSAGE_BYTES - (64 << 10);

/// A task in a line.
pub fn summary_out(view: &SummaryView) -> pb::TaskSummary {
    let SummaryView {
        task,
        state,
        ended_by,
        cause,
        goal,
        owner,
        labels,
        created_at,
        updated_at,
        ended_at,
        seq,
        counters,
        ledger,
        agents,
        parent: _,    // Task.parent has more of it.
        namespace: _, // Task.contract has it.
        unsettled: _, // For the server's own start.
        settled: _,   // Task.dead_letter has more of it.
    } = view;
    pb::TaskSummary {
        task_id: task.to_string(),
        state: enums::task_state(*state) as i32,
        ended_by: ended_by_out(*ended_by),
        cause: enums::maybe_cause(*cause),
        goal: goal.clone(),
        owner: owner.to_string(),
        labels: labels.clone(),
        created_at: Some(wire(*created_at)),
        updated_at: Some(wire(*updated_at)),
        ended_at: ended_at.map(wire),
        seq: int64(*seq),
        counters: Some(counters_out(*counters)),
        ledger: Some(ledger_out(ledger)),
        agents: agents.iter().map(ToString::to_string).collect(),
    }
}

fn ended_by_out(by: Option<EndedBy>) -> i32 {
    by.map_or(pb::EndedBy::Unspecified, enums::ended_by) as i32
}

fn counters_out(counters: Counters) -> pb::Counters {
    let Counters { hops, turns, replans, rounds, attempts, decides, escalations, revisions, children, steps } =
        counters;
    pb::Counters {
        hops: int32(hops),
        turns: int32(turns),
        replans: int32(replans),
        rounds: int32(rounds),
        attempts: int32(attempts),
        decides: int32(decides),
        escalations: int32(escalations),
        revisions: int32(revisions),
        children: int32(children),
        steps: int32(steps),
    }
}

/// The account.
pub(crate) fn ledger_out(ledger: &LedgerView) -> pb::Ledger {
    let LedgerView {
        granted,
        reserved,
        spent,
        overrun,
        finalization,
        finalization_left,
        unheard,
        usage,
        by_agent,
        children,
        children_reserved,
    } = ledger;
    pb::Ledger {
        granted_tokens: int64(*granted),
        reserved_tokens: int64(*reserved),
        spent_tokens: int64(*spent),
        overrun_tokens: int64(*overrun),
        finalization_tokens: int64(*finalization),
        finalization_left_tokens: int64(*finalization_left),
        unheard_tokens: int64(*unheard),
        input_tokens: int64(usage.input),
        output_tokens: int64(usage.output),
        cached_tokens: int64(usage.cached),
        reasoning_tokens: int64(usage.reasoning),
        by_agent: by_agent.iter().map(|(agent, tokens)| (agent.to_string(), int64(*tokens))).collect(),
        cost_nano_usd: int64(usage.cost_nano_usd),
        children_tokens: int64(*children),
        children_reserved_tokens: int64(*children_reserved),
    }
}

/// How a task ended.
pub(crate) fn outcome_out(outcome: &Outcome) -> pb::Outcome {
    let Outcome { state, ended_by, cause, result, reason, findings } = outcome;
    pb::Outcome {
        state: enums::task_state(*state) as i32,
        ended_by: enums::ended_by(*ended_by) as i32,
        cause: enums::cause(*cause) as i32,
        result: result.as_ref().map(value),
        reason: reason.clone(),
        findings: findings.clone(),
    }
}

/// A task in full, as far as it fits into a message: where it does not, the oldest turns come without what they answered.
pub fn task_out(view: &TaskView, waits: &[(TurnNumber, Waits)]) -> pb::Task {
    let TaskView {
        summary,
        contract,
        turns,
        outcome,
        best_result,
        trace,
        deadline,
        parent,
        children,
        tripped,
        best,
        redrives,
        dead_letter,
    } = view;
    let mut told = pb::Task {
        summary: Some(summary_out(summary)),
        contract: Some(contract_out(contract)),
        turns: Vec::new(),
        outcome: outcome.as_ref().map(outcome_out),
        best_result: best_result.as_ref().map(value),
        trace_id: format!("{:032x}", trace_ids::trace_id(summary.task, trace)),
        traceparent: trace.traceparent.clone().unwrap_or_default(),
        deadline: Some(wire(*deadline)),
        parent: parent.as_ref().map(parent_out),
        children: children.iter().map(child_out).collect(),
        trips: tripped.iter().map(together_out).collect(),
        best: best.as_ref().map(best_out),
        // What is halted is the server's, and no part of a task: whoever asks for the task adds it.
        halts: Vec::new(),
        waiting: waits.iter().map(waiting_out).collect(),
        redrives: redrives.as_ref().map(redrives_out),
        dead_letter: dead_letter.as_ref().map(status_out),
    };
    told.turns = turns_out(turns, MAX_TASK_BYTES.saturating_sub(told.encoded_len()));
    told
}

fn parent_out(parent: &Parent) -> pb::Parent {
    let Parent { task, number: _, turn, attempt, depth, traceparent: _, labels: _ } = parent;
    pb::Parent {
        task_id: task.to_string(),
        turn: int32(*turn),
        attempt: int32(*attempt),
        depth: int32(*depth),
    }
}

fn child_out(view: &ChildView) -> pb::Child {
    let ChildView {
        child,
        number,
        turn,
        attempt,
        goal,
        state,
        open,
        tokens,
        reserved,
        spent,
        hops,
        turns,
        started_at,
        ended_at,
        reason,
    } = view;
    pb::Child {
        task_id: child.to_string(),
        number: int32(*number),
        turn: int32(*turn),
        attempt: int32(*attempt),
        goal: goal.clone(),
        state: state.map_or(pb::TaskState::Unspecified, enums::task_state) as i32,
        open: *open,
        tokens: int64(*tokens),
        reserved_tokens: int64(*reserved),
        spent_tokens: int64(*spent),
        hops: int32(*hops),
        turns: int32(*turns),
        started_at: Some(wire(*started_at)),
        ended_at: ended_at.map(wire),
        reason: reason.clone(),
    }
}

/// A guard that tripped, for the wire.
pub(crate) fn trip_out(trip: &Trip) -> pb::Trip {
    let Trip { cause, evidence, scope, turns, pattern } = trip;
    let told = pb::Trip {
        cause: enums::cause(*cause) as i32,
        evidence: evidence.clone(),
        scope: enums::trip_scope(*scope) as i32,
        turns: turns.iter().map(|turn| int32(*turn)).collect(),
        ..pb::Trip::default()
    };
    let Some(Pattern { guard, excerpt, times, cycle, similarity_permille }) = pattern else { return told };
    pb::Trip {
        pattern: enums::trip_pattern(*guard) as i32,
        excerpt: excerpt.clone(),
        times: int32(*times),
        cycle_length: int32(*cycle),
        similarity: f64::from(*similarity_permille) / 1_000.0,
        ..told
    }
}

fn together_out(tripped: &Tripped) -> pb::TripsTogether {
    let Tripped { at, seq, trips } = tripped;
    pb::TripsTogether { at: Some(wire(*at)), seq: int64(*seq), trips: trips.iter().map(trip_out).collect() }
}

fn best_out(best: &BestView) -> pb::BestResult {
    let BestView { turn, score, confidence, findings } = best;
    pb::BestResult {
        turn: int32(*turn),
        score: score.get(),
        confidence: confidence.get(),
        findings: findings.clone(),
    }
}

/// A point of the readiness list.
pub fn point_out(point: Point) -> pb::ReadinessPoint {
    let Point { number, title, readiness, advice } = point;
    pb::ReadinessPoint {
        number: int32(number),
        title: title.to_owned(),
        readiness: enums::readiness(readiness) as i32,
        advice,
    }
}

/// A failure mode and what answers it.
pub fn mode_out(mode: Mode) -> pb::FailureMode {
    let Mode { code, title, readiness, advice } = mode;
    pb::FailureMode {
        code: code.to_owned(),
        title: title.to_owned(),
        readiness: enums::readiness(readiness) as i32,
        advice,
    }
}
