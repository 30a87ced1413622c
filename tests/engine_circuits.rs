//! What a task does when it hears that an agent's circuit is open: its step's fallback takes over, or the turn waits and the
//! journal says so once.

#[path = "support/engine.rs"]
mod support;

use bailiwick::{
    engine::{
        command::{Command, Rejection, Reply},
        event::Event,
    },
    types::plan::StepDraft,
};
use support::{Bench, delegate, draft, failed, name, step, success};

const REASON: &str = "unavailable: circuit open since noon, 5 of the last 5 attempts failed";

fn hold_up(bench: &mut Bench, turn: u32) -> Result<Reply, Rejection> {
    bench.send(Command::HoldUp { turn, reason: REASON.to_owned() })
}

/// Every `TurnHeldUp` so far: the turn, and the fallback that took over.
fn told(bench: &Bench) -> Vec<(u32, Option<String>)> {
    let held_up = bench.records.iter().filter_map(|record| match &record.event {
        Event::TurnHeldUp { turn, passed_to, reason } => {
            assert_eq!(reason, REASON);
            Some((*turn, passed_to.as_ref().map(ToString::to_string)))
        }
        _ => None,
    });
    held_up.collect()
}

#[test]
fn a_turn_without_a_fallback_waits_and_is_told_once() {
    let mut bench = Bench::new(&draft());
    assert_eq!(hold_up(&mut bench, 1), Ok(Reply::Done));
    assert_eq!(hold_up(&mut bench, 1), Ok(Reply::Done));
    assert_eq!(told(&bench), [(1, None)]);
    assert_eq!(bench.ready(), [1], "it still waits");
    bench.check_replay();
}

#[test]
fn a_steps_fallback_takes_over_at_once_and_the_planner_hears_of_it() {
    let mut bench = Bench::new(&draft());
    let look = StepDraft { fallback_agents: vec!["beta".to_owned()], ..step("look", "alpha", &[]) };
    bench.turn(delegate(vec![look]));
    assert_eq!(hold_up(&mut bench, 2), Ok(Reply::Done));
    assert_eq!(told(&bench), [(2, Some("beta".to_owned()))]);
    let taken_over = bench.next();
    assert_eq!((taken_over.lease.turn, taken_over.agent.clone()), (3, name("beta")));
    assert!(taken_over.notes[0].contains(REASON), "{:?}", taken_over.notes);
    // Nobody is left to pass it on to.
    assert_eq!(hold_up(&mut bench, 2), Err(Rejection::TurnNotReady));
    assert_eq!(hold_up(&mut bench, 3), Err(Rejection::TurnNotReady), "it is leased");
    bench.answer(taken_over.lease, success("{}", 10));
    let back = bench.next();
    assert_eq!(back.agent, name("planner"));
    assert!(
        back.notes.iter().any(|note| *note == format!("step look waited for alpha: {REASON}")),
        "{:?}",
        back.notes
    );
    bench.check_replay();
}

#[test]
fn nobody_stands_in_for_the_owner() {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("no idea", 10));
    assert_eq!(hold_up(&mut bench, 2), Err(Rejection::TurnNotReady));
    assert_eq!(hold_up(&mut bench, 9), Err(Rejection::TurnNotReady), "there is no such turn");
    assert_eq!(told(&bench), []);
}
