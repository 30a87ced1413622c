//! Tasks that leave memory, and starts that replay nothing: whatever happens, the journal is the same as if every task had
//! been there all the time.

use std::{pin::Pin, sync::Arc};

use bailiwick::{
    engine::parked::Parked,
    runtime::{Down, Hands, Pace, RuntimeOptions, Wait, Work},
    store::{
        Store,
        record::{ParkedNote, SummaryRow},
    },
    types::{
        contract::{Contract, ContractDraft, LimitsDraft},
        envelope::{Answer, Envelope, Status},
        ids::{Lease, TaskId},
        plan::{PlanDraft, StepDraft},
        time::Span,
    },
};
use proptest::prelude::*;

use crate::kit::{Worker, World, complete, draft, envelope, options, success, usage};

/// Work that others do takes a moment, always the same.
#[derive(Debug)]
struct Moment;

impl Pace for Moment {
    fn before(&self, _: Work) -> Wait {
        Box::pin(tokio::task::yield_now()) as Pin<Box<_>>
    }
}

/// Milliseconds between two signs of life of a worker, and between two looks at the clock.
const HEARD_EVERY: usize = 500;
/// Time between two submissions: what falls due in different looks at the clock comes in the same order whether its task must
/// be loaded for it or not.
const APART: Span = Span::from_millis(700);
/// Turns that the runtime's tasks get before the next move: more than anything takes.
const SETTLED: usize = 128;

#[derive(Debug, Clone)]
enum Move {
    Submit(usize),
    Credit { worker: usize, slots: u32 },
    Answer { worker: usize, pick: usize, how: usize },
    Usage { worker: usize, pick: usize, tokens: u64 },
    Cancel(usize),
    View(usize),
    Pass(u64),
    Restart { keeps: bool },
}

fn moves() -> impl Strategy<Value = Move> {
    let (worker, pick) = (0..2_usize, 0..4_usize);
    prop_oneof![
        6 => (0..4_usize).prop_map(Move::Submit),
        6 => (worker.clone(), 1..3_u32).prop_map(|(worker, slots)| Move::Credit { worker, slots }),
        8 => (worker.clone(), pick.clone(), 0..6_usize)
            .prop_map(|(worker, pick, how)| Move::Answer { worker, pick, how }),
        2 => (worker, pick, 0..40_000_u64)
            .prop_map(|(worker, pick, tokens)| Move::Usage { worker, pick, tokens }),
        1 => (0..8_usize).prop_map(Move::Cancel),
        2 => (0..8_usize).prop_map(Move::View),
        4 => prop_oneof![0..2_000_u64, 0..40_000_u64].prop_map(Move::Pass),
        1 => any::<bool>().prop_map(|keeps| Move::Restart { keeps }),
    ]
}

fn contract(kind: usize) -> Contract {
    let limits = |deadline| Some(LimitsDraft { deadline: Some(deadline), ..LimitsDraft::default() });
    let step = |id: &str, agent: &str, after: &[&str]| StepDraft {
        id: id.to_owned(),
        agent: agent.to_owned(),
        depends_on: after.iter().map(|id| (*id).to_owned()).collect(),
        fallback_agents: if agent == "b" { vec!["c".to_owned()] } else { Vec::new() },
        ..StepDraft::default()
    };
    let plan = PlanDraft {
        steps: vec![step("one", "b", &[]), step("two", "c", &[]), step("all", "a", &["one", "two"])],
        result_step: "all".to_owned(),
        ..PlanDraft::default()
    };
    complete(&match kind {
        0 => draft(),
        1 => ContractDraft { limits: limits(20_000_000), ..draft() },
        2 => ContractDraft { first_agent: None, plan: Some(plan), ..draft() },
        // Nobody serves "away" but at the start.
        _ => ContractDraft {
            first_agent: Some("away".to_owned()),
            limits: Some(LimitsDraft {
                worker_wait: Some(25_000_000),
                ..limits(3_600_000_000).unwrap_or_default()
            }),
            ..draft()
        },
    })
}

fn answer(how: usize) -> Answer {
    match how {
        0..=2 => success(),
        3 => Answer::Envelope(envelope(Status::Failed, None)),
        4 => Answer::Envelope(Envelope { retryable: true, ..envelope(Status::Failed, None) }),
        _ => Answer::Envelope(envelope(Status::Success, None)),
    }
}

/// What becomes of how tasks stand, between two starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notes {
    Kept,
    Garbage,
    OfAnOlderEvent,
    OfAnotherVersion,
}

impl Notes {
    fn spoil(self, store: &dyn Store) {
        let open = store.open_tasks(None, 10_000).expect("the memory reads");
        let note = |(task, seq, parked): (TaskId, u64, String)| {
            let other = |key: &str, value: u64| {
                let mut json: serde_json::Value = serde_json::from_str(&parked).expect("it is JSON");
                json[key] = value.into();
                json.to_string()
            };
            let parked = match self {
                Self::Kept => parked.clone(),
                Self::Garbage => parked[..parked.len() / 2].to_owned(),
                Self::OfAnOlderEvent => other("seq", seq - 1),
                Self::OfAnotherVersion => other("version", 99),
            };
            ParkedNote { task, seq, parked }
        };
        let standing = open.into_iter().map(|open| (open.task, open.seq, open.parked.expect("it stands so")));
        store.note_parked(&standing.map(note).collect::<Vec<_>>()).expect("noted");
    }
}

/// A worker, and what it has been given.
struct Hand {
    worker: Worker,
    leases: Vec<Lease>,
}

impl Hand {
    fn take_in(&mut self) {
        while let Ok(down) = self.worker.down.try_recv() {
            match down {
                Down::Assignment(assignment) => self.leases.push(assignment.lease),
                Down::Cancel { lease, .. } => self.leases.retain(|held| *held != lease),
                _ => {}
            }
        }
        // Work for a task that must be loaded first comes a moment later than for one in memory.
        self.leases.sort();
    }

    fn lease(&self, pick: usize) -> Option<Lease> {
        self.leases.get(pick % self.leases.len().max(1)).copied()
    }
}

struct Play {
    world: World,
    hands: Vec<Hand>,
    tasks: Vec<TaskId>,
    /// What the workers held before each move.
    seen: Vec<String>,
}

const CREW: [(&str, &[&str]); 2] = [("w1", &["a", "b"]), ("w2", &["b", "c"])];

async fn settle() {
    for _ in 0..SETTLED {
        tokio::task::yield_now().await;
    }
}

impl Play {
    async fn new(residents: usize) -> Self {
        let options = RuntimeOptions { max_resident_tasks: residents, shards: 1, ..options() };
        let world = World::with_hands(options, Hands::InPlace(Arc::new(Moment))).await;
        drop(world.worker("w0", &["away"], 1).await);
        let mut play = Self { world, hands: Vec::new(), tasks: Vec::new(), seen: Vec::new() };
        play.connect(&[Vec::new(), Vec::new()]).await;
        play
    }

    async fn connect(&mut self, held: &[Vec<Lease>]) {
        self.hands.clear();
        for ((id, agents), held) in CREW.iter().zip(held) {
            let worker = self.world.worker_with(id, agents, 4, held.clone()).await;
            let leases = worker.opened.live.clone();
            self.hands.push(Hand { worker, leases });
        }
    }

    /// Lets time pass, workers being heard meanwhile: whether a silent one is cut off before or after it gets work of the
    /// same moment is anybody's guess.
    async fn pass(&self, millis: u64) {
        for from in (0..=millis).step_by(HEARD_EVERY) {
            self.world.clock.advance(Span::from_millis((millis - from).min(HEARD_EVERY as u64)));
            for hand in &self.hands {
                hand.worker.heartbeat();
            }
            settle().await;
        }
    }

    async fn restart(mut self, keeps: bool, notes: Notes) -> Self {
        self.world = self.world.restart_after(|store| notes.spoil(store)).await;
        settle().await;
        for open in self.world.store.open_tasks(None, 10_000).expect("the memory reads") {
            let parked = open.parked.as_deref().and_then(|text| Parked::parse(text, open.seq));
            assert!(parked.is_some(), "how a task stands is noted again: {open:?}");
        }
        let held: Vec<_> = self.hands.iter().map(|hand| hand.leases.clone()).collect();
        self.connect(&if keeps { held } else { vec![Vec::new(); 2] }).await;
        settle().await;
        self
    }

    async fn step(mut self, step: &Move, notes: Notes) -> Self {
        for hand in &mut self.hands {
            hand.take_in();
            let held =
                hand.leases.iter().map(|lease| format!("{}.{}.{}", lease.task, lease.turn, lease.attempt));
            self.seen.push(format!("before {step:?}: {:?}", held.collect::<Vec<_>>()));
        }
        let runtime = self.world.runtime.clone();
        match *step {
            Move::Submit(kind) => {
                self.tasks.push(self.world.try_submit(contract(kind)).await.expect("accepted").task);
                self.world.clock.advance(APART);
            }
            Move::Credit { worker, slots } => self.hands[worker].worker.credit(slots),
            Move::Answer { worker, pick, how } => {
                if let Some(lease) = self.hands[worker].lease(pick) {
                    drop(runtime.complete(lease, answer(how), String::new()).await);
                    self.hands[worker].leases.retain(|held| *held != lease);
                }
            }
            Move::Usage { worker, pick, tokens } => {
                if let Some(lease) = self.hands[worker].lease(pick) {
                    drop(runtime.usage(lease, usage(tokens), String::new()).await);
                }
            }
            Move::Cancel(n) => {
                if let Some(task) = self.tasks.get(n) {
                    runtime.cancel(*task, "enough".to_owned()).await.expect("cancelled");
                }
            }
            Move::View(n) => {
                if let Some(task) = self.tasks.get(n) {
                    runtime.get(*task).await.expect("it is there");
                }
            }
            Move::Pass(millis) => self.pass(millis).await,
            Move::Restart { keeps } => return self.restart(keeps, notes).await,
        }
        settle().await;
        self
    }

    /// The journals of all tasks, without what is random in leases, and their rows.
    fn story(&self) -> (Vec<String>, Vec<SummaryRow>) {
        let mut story = self.seen.clone();
        for task in &self.tasks {
            for event in self.world.journal(*task) {
                let mut json: serde_json::Value = serde_json::from_str(&event.body).expect("it is JSON");
                if let Some(lease) = json.pointer_mut("/attempt_started/lease") {
                    let whole: Lease = lease.as_str().and_then(|text| text.parse().ok()).expect("a lease");
                    *lease = format!("{}.{}", whole.turn, whole.attempt).into();
                }
                story.push(format!("{task} {} {:?} {} {json}", event.seq, event.at, event.kind));
            }
        }
        let row = |task: &TaskId| {
            let row = self.world.store.summary(*task).expect("the memory reads").expect("a row");
            SummaryRow { parked: None, ..row }
        };
        (story, self.tasks.iter().map(row).collect())
    }
}

fn played(steps: &[Move], residents: usize, notes: Notes) -> (Vec<String>, Vec<SummaryRow>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut play = Play::new(residents).await;
        for step in steps {
            play = play.step(step, notes).await;
        }
        let story = play.story();
        play.world.stop().await;
        story
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn parked_or_resident_replayed_or_not_the_journal_is_the_same(
        steps in proptest::collection::vec(moves(), 1..60),
    ) {
        let whole = played(&steps, usize::MAX, Notes::Kept);
        for (residents, notes) in [
            (0, Notes::Kept),
            (2, Notes::OfAnOlderEvent),
            (0, Notes::Garbage),
            (usize::MAX, Notes::OfAnotherVersion),
        ] {
            let (story, rows) = played(&steps, residents, notes);
            for (line, expected) in story.iter().zip(&whole.0) {
                prop_assert_eq!(line, expected, "{} in memory, notes {:?}", residents, notes);
            }
            prop_assert_eq!(story.len(), whole.0.len(), "{} in memory, notes {:?}", residents, notes);
            prop_assert_eq!(&rows, &whole.1, "{} in memory, notes {:?}", residents, notes);
        }
    }
}
