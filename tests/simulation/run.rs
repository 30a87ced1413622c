//! One run: a world from a seed, faults for a while, then calm, and the reckoning.

use std::{cell::RefCell, collections::BTreeMap, panic, sync::Arc, time::Duration};

use crate::{
    chance::Chance,
    client::{self, person},
    contracts, end,
    faults::Faults,
    host::{self, Host, Wishes},
    operator, silence,
    sim::Sim,
    tape::{Keep, Sum, Tape, note},
    time::{self, sleep},
    worker::{Spec, Worker},
};
use bailiwick::{runtime::Lift, types::ids::AgentName};

/// How long things go wrong, in milliseconds.
const ROUGH: u64 = 90_000;
/// For whoever was kept out by a halt to come in.
const SETTLING: Duration = Duration::from_secs(20);
/// The node that operators sit at.
const OPERATORS: u32 = 60;
/// For workers to be back after the last fault.
const LULL: Duration = Duration::from_secs(90);

thread_local! {
    /// What has panicked first on this thread, and where.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) sum: Sum,
    pub(crate) tasks: usize,
    pub(crate) commits: u64,
    pub(crate) seen: BTreeMap<String, u64>,
    pub(crate) failure: Option<String>,
    /// The transcript, where it was asked for.
    pub(crate) lines: Vec<String>,
}

/// Keeps every panic for the run that it ends. Once a process.
pub(crate) fn hear_panics() {
    panic::set_hook(Box::new(|info| {
        let backtrace = std::env::var_os("STACK").is_some();
        let stack = backtrace.then(std::backtrace::Backtrace::force_capture);
        let said = stack.map_or_else(|| info.to_string(), |stack| format!("{info}\n{stack}"));
        PANIC.with_borrow_mut(|first| {
            first.get_or_insert(said);
        });
    }));
}

fn has_panicked() -> bool {
    PANIC.with_borrow(Option::is_some)
}

/// Runs a seed on this thread.
pub(crate) fn run(seed: u64, keep: Keep) -> Ran {
    PANIC.set(None);
    time::reset();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().on_thread_park(time::advance).build().expect("a runtime");
    let ran = panic::catch_unwind(panic::AssertUnwindSafe(|| runtime.block_on(world(seed, keep))));
    drop(runtime);
    let failure = PANIC.take();
    match ran {
        Ok(ran) => Ran { failure, ..ran },
        Err(_) => {
            let sum = Sum { hash: 0, lines: 0 };
            Ran { sum, tasks: 0, commits: 0, seen: BTreeMap::new(), failure, lines: Vec::new() }
        }
    }
}

async fn world(seed: u64, keep: Keep) -> Ran {
    let mut chance = Chance::new(seed);
    let tape = Arc::new(Tape::new(keep));
    let faults = Faults::of(&mut chance.fork());
    let sim = Arc::new(Sim::new(&mut chance, faults, tape));
    note!(sim, "seed {seed} {:?}", sim.faults);
    let specs = specs(&mut chance);
    let options = host::options(&mut chance);
    let wishes = Arc::new(Wishes::default());
    let host = Host::new(Arc::clone(&sim), options, chance.fork());
    let hosting = tokio::spawn(host.run(Arc::clone(&wishes)));
    for spec in &specs {
        tokio::spawn(Worker::new(Arc::clone(&sim), spec.clone(), chance.fork()).live());
    }
    for name in ["ada", "bob"] {
        tokio::spawn(person::live(Arc::clone(&sim), 50, name, chance.fork()));
    }
    for name in ["eve", "sam"] {
        tokio::spawn(operator::live(Arc::clone(&sim), OPERATORS, name, chance.fork()));
    }
    for number in 0..chance.between(4, 16) {
        let key = if chance.happens(850) { format!("key-{number}") } else { String::new() };
        let draft = contracts::draft(&mut chance, key);
        tokio::spawn(client::live(Arc::clone(&sim), 100, draft, chance.fork()));
    }
    let deeds = host::deeds(&sim, &mut chance, specs.len() as u64, ROUGH);
    tokio::spawn(host::mischief(Arc::clone(&sim), Arc::clone(&wishes), deeds));
    if watchful(&sim, &specs, Duration::from_millis(ROUGH)).await {
        reckon(&sim, &specs, &wishes).await;
    }
    sim.end();
    if !has_panicked() {
        // The people go home, and the last server is stopped.
        sleep(Duration::from_secs(70)).await;
        hosting.abort();
    }
    let laws = sim.laws.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (tasks, commits, seen) = (laws.cases.len(), laws.commits, laws.seen.clone());
    drop(laws);
    Ran { sum: sim.tape.sum(), tasks, commits, seen, failure: None, lines: sim.tape.lines() }
}

/// Lets time pass, and looks whether anything waits that should not; `false`: something has failed meanwhile.
async fn watchful(sim: &Sim, specs: &[Spec], span: Duration) -> bool {
    let mut left = span;
    while !left.is_zero() && !has_panicked() {
        let some = left.min(Duration::from_secs(1));
        sleep(some).await;
        left -= some;
        if !has_panicked() {
            silence::look(sim, specs);
        }
    }
    !has_panicked()
}

async fn reckon(sim: &Arc<Sim>, specs: &[Spec], wishes: &Wishes) {
    note!(sim, "calm");
    sim.calm();
    if !watchful(sim, specs, LULL).await {
        return;
    }
    end::no_ghosts(sim);
    sim.laws().swept();
    operator::resume(sim, OPERATORS, Lift::Everything, "all").await;
    // For those who were kept out.
    if !watchful(sim, specs, SETTLING).await {
        return;
    }
    end::wait_for_ends(sim, specs, &has_panicked).await;
    if !watchful(sim, specs, LULL).await {
        return;
    }
    end::settle(sim).await;
    end::probe(sim, specs).await;
    end::settle(sim).await;
    if !watchful(sim, specs, Duration::from_secs(5)).await {
        return;
    }
    end::audit(sim);
    end::letters(sim).await;
    end::leftovers(sim, specs);
    let stopped = wishes.stop().await;
    assert_eq!(stopped, Ok(true), "the server stops in good order");
}

/// The workers: the first serves everybody, so that nobody is without one for good.
fn specs(chance: &mut Chance) -> Vec<Spec> {
    let count = chance.between(1, 4);
    let spec = |node: u64| {
        let node = u32::try_from(node).unwrap_or(0);
        let name = |text: &str| text.parse::<AgentName>().expect("a name");
        let mut agents: Vec<AgentName> = contracts::AGENTS
            .iter()
            .filter(|_| node == 0 || chance.happens(500))
            .map(|agent| name(agent))
            .collect();
        agents.push(name(&format!("only-{node}")));
        let max = u32::try_from(chance.between(1, 4)).unwrap_or(1);
        Spec { node, id: format!("worker-{node}").parse().expect("an id"), agents, max }
    };
    (0..count).map(spec).collect()
}
