//! The calls of `OperatorService` about dead letters. A redrive is a submission like any other: intake says what is wrong
//! with the successor's contract, all at once. Never here: a decision about a dead letter; its task makes that.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::{
    engine::{
        command::{Rejection, SettledLetter},
        differs::differences,
        event::TraceContext,
        intake::Violation,
        view::{Settled, SettledAs, TaskView},
    },
    pb,
    runtime::{
        Discard, RedriveOf, Runtime, Submitted, TaskFilter,
        dead_letters::{DeadLetterFilter, DeadLetterPage, DeadLetterStory},
    },
    types::{
        contract::{Contract, Start},
        ids::{AgentName, TaskId},
        limits::fixed::MAX_TEXT_BYTES,
        outcome::Cause,
    },
};

use super::{
    changes::Changes,
    convert::{
        contract::{contract_out, fingerprint, intake},
        dead_letter::{letter_out, settled_in, violations_out},
        enums,
        faults::Faults,
        int64,
        time::timestamp,
    },
    page::{self, Scope},
    status::{Fault, Verdict},
    tasks::{MAX_FILTER_LABELS, Tasks, any_of},
};

/// Dead letters a page where nothing is asked for: each is replayed from the journal.
const LISTED: usize = 20;
/// Dead letters a call where nothing is asked for.
const SETTLED_A_CALL: usize = 50;
/// The most a page or a call may have.
const MAX_PAGE: usize = 100;
/// Dead letters worked on at once in one call: their commits go together.
const AT_ONCE: usize = 16;
/// The longest name of a person, in characters.
const MAX_BY_CHARS: usize = 128;

/// How to redrive, parsed.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    changes: Arc<Changes>,
    asked: u128,
    by: String,
    note: String,
    trace: TraceContext,
    dry_run: bool,
}

/// See the file's header.
#[derive(Clone)]
pub(super) struct DeadLetters {
    runtime: Runtime,
    tasks: Arc<Tasks>,
}

/// Who, and why.
pub(super) fn signed(by: &str, note: &str, at: &str, faults: &mut Faults) {
    faults.required(&format!("{at}by"), by, usize::MAX, "who does this");
    faults.short(&format!("{at}by"), by, MAX_BY_CHARS);
    faults.text(&format!("{at}note"), note, MAX_TEXT_BYTES);
}

/// The filter, parsed; states are the caller's.
fn filter(wire: Option<&pb::DeadLetterFilter>, faults: &mut Faults) -> DeadLetterFilter {
    let empty = pb::DeadLetterFilter::default();
    let pb::DeadLetterFilter { agent, labels, causes, since, namespace } = wire.unwrap_or(&empty);
    faults.list("filter.causes", causes, Cause::ALL.len());
    if labels.len() > MAX_FILTER_LABELS {
        let what = format!("has {} entries: write at most {MAX_FILTER_LABELS}", labels.len());
        faults.add("filter.labels", what);
    }
    let tasks = TaskFilter {
        causes: any_of("filter.causes", causes, enums::cause_in, faults),
        agent: if agent.is_empty() { None } else { faults.name("filter.agent", agent) },
        labels: labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        since: timestamp(faults, "filter.since", *since),
        namespace: if namespace.is_empty() { None } else { faults.name("filter.namespace", namespace) },
        ..TaskFilter::default()
    };
    DeadLetterFilter { tasks, settled: vec![None] }
}

fn states(wanted: &[i32], all: bool, faults: &mut Faults) -> Vec<Option<SettledAs>> {
    faults.list("states", wanted, 3);
    if all {
        if !wanted.is_empty() {
            faults.add("all_states", "stands beside states: write one of the two");
        }
        return Vec::new();
    }
    if wanted.is_empty() {
        return vec![None];
    }
    let mut state = |(index, number): (usize, &i32)| {
        let names = "one of the names of DeadLetterState in task.proto";
        faults.one_of(&format!("states[{index}]"), *number, settled_in(*number), names)
    };
    wanted.iter().enumerate().filter_map(&mut state).collect()
}

fn size(asked: i32, default: usize, faults: &mut Faults) -> usize {
    let size = page::size(asked, default, faults);
    if (MAX_PAGE + 1..=1_000).contains(&size) {
        faults.add("page_size", format!("is {asked}: write a number from 1 to {MAX_PAGE}"));
    }
    size
}

/// The terms of a redrive, parsed.
pub(super) fn terms(
    wire: Option<pb::RedriveTerms>,
    dry_run: bool,
    trace: TraceContext,
    faults: &mut Faults,
) -> Terms {
    let pb::RedriveTerms { changes, change_mask, by, note } = wire.unwrap_or_default();
    signed(&by, &note, "terms.", faults);
    let changes = Arc::new(Changes::new(changes, change_mask, faults));
    Terms { asked: changes.fingerprint(), changes, by, note, trace, dry_run }
}

impl DeadLetters {
    pub(super) fn new(runtime: Runtime, tasks: Arc<Tasks>) -> Self {
        Self { runtime, tasks }
    }

    pub(super) async fn list(
        &self,
        wire: pb::ListDeadLettersRequest,
    ) -> Result<pb::ListDeadLettersResponse, Fault> {
        let mut faults = Faults::default();
        let mut filter = filter(wire.filter.as_ref(), &mut faults);
        filter.settled = states(&wire.states, wire.all_states, &mut faults);
        let size = size(wire.page_size, LISTED, &mut faults);
        let filter = faults.finish(Some(filter)).map_err(Fault::InvalidMessage)?;
        let page_token = wire.page_token.clone();
        let bare = pb::ListDeadLettersRequest { page_size: 0, page_token: String::new(), ..wire };
        let scope = Scope::of("dead letters", &bare);
        let after = scope.task(&page_token)?;
        let found = self.runtime.dead_letters(filter, after, size).await?;
        let DeadLetterPage { letters, scanned_to } = found;
        let out = |story: &DeadLetterStory| letter_out(story, self.plan(&story.task), false);
        let (dead_letters, mut next_page_token) = page::cut(&letters, size, out, |last| {
            let summary = &last.task.summary;
            scope.after_task(crate::runtime::PageAfter { created_at: summary.created_at, task: summary.task })
        });
        if let (Some(place), true) = (scanned_to, next_page_token.is_empty()) {
            next_page_token = scope.after_task(place);
        }
        Ok(pb::ListDeadLettersResponse { dead_letters, next_page_token })
    }

    pub(super) async fn get(&self, task: TaskId) -> Result<pb::DeadLetter, Fault> {
        match self.runtime.dead_letter(task).await? {
            Some(story) => Ok(letter_out(&story, self.plan(&story.task), true)),
            None => {
                let view = self.runtime.get(task).await?;
                Err(Rejection::NotADeadLetter(view.summary.state).into())
            }
        }
    }

    /// What a redrive without changes would do: as far as can be told without trying rules.
    fn plan(&self, view: &TaskView) -> pb::RedrivePlan {
        let wire = Changes::default().applied(&contract_out(&view.contract));
        let completed = intake(wire, self.runtime.ceilings(), &|agent| self.runtime.is_known(agent));
        match (unfit(view), completed) {
            (Some(refusal), _) => {
                pb::RedrivePlan { refusal: refusal.to_string(), ..pb::RedrivePlan::default() }
            }
            (None, Ok(contract)) => self.plan_of(&contract, &view.contract),
            (None, Err(faults)) => refused(&faults),
        }
    }

    fn plan_of(&self, contract: &Contract, stored: &Contract) -> pb::RedrivePlan {
        pb::RedrivePlan {
            possible: true,
            changes: differences(stored, contract),
            notes: self.away(contract),
            granted_tokens: int64(contract.budget.max_tokens),
            ..pb::RedrivePlan::default()
        }
    }

    /// Agents that nobody serves now, and without whom it cannot begin.
    fn away(&self, contract: &Contract) -> Vec<String> {
        let mut wanted: Vec<&AgentName> = match &contract.start {
            Start::FirstAgent(agent) => vec![agent],
            Start::Plan(plan) => plan.steps.iter().map(|step| &step.agent).collect(),
        };
        wanted.push(&contract.owner);
        wanted.sort();
        wanted.dedup();
        let served = self.runtime.served();
        let away = wanted.into_iter().filter(|agent| !served.contains(*agent));
        away.map(|agent| format!("no worker serves {agent} now")).collect()
    }

    /// Redrives one.
    pub(super) async fn redrive(&self, task: TaskId, terms: &Terms) -> Result<pb::DeadLetterResult, Fault> {
        let view = self.runtime.get(task).await?;
        let done = |successor: TaskId, existing, plan| pb::DeadLetterResult {
            task_id: task.to_string(),
            successor_task_id: successor.to_string(),
            existing,
            refusal: None,
            plan,
        };
        if let Some(Settled::Redriven(before)) = view.dead_letter.as_ref().and_then(|l| l.settled.as_ref())
            && before.fingerprint == terms.asked
        {
            // Done before: whatever intake would say of it now.
            return Ok(done(before.successor, true, None));
        }
        if let Some(refusal) = unfit(&view) {
            return Err(refusal.into());
        }
        let contract = self.successor(&view.contract, terms).await.map_err(Fault::ContractRefused)?;
        if terms.dry_run {
            let mut plan = self.plan_of(&contract, &view.contract);
            plan.contract = Some(contract_out(&contract));
            return Ok(done(task.of_redrive(), false, Some(plan)));
        }
        let changes = differences(&view.contract, &contract);
        let Terms { asked, by, note, trace, .. } = terms.clone();
        let fingerprint = fingerprint(&contract_out(&contract));
        let redrive = RedriveOf { task, contract, fingerprint, asked, changes, by, note, trace };
        let Submitted { task: successor, existing } = self.runtime.redrive(redrive).await?;
        Ok(done(successor, existing, None))
    }

    /// The successor's contract: the dead letter's with the changes, as intake completes it.
    async fn successor(&self, stored: &Contract, terms: &Terms) -> Result<Contract, Vec<Violation>> {
        let derive = |wire: pb::Contract| {
            let known = |agent: &AgentName| self.runtime.is_known(agent);
            intake(wire, self.runtime.ceilings(), &known).ok().map(|contract| contract_out(&contract))
        };
        let underived = terms.changes.underived(&contract_out(stored), derive);
        self.tasks.intake(terms.changes.applied(&underived)).await
    }

    /// Redrives a page.
    pub(super) async fn redrive_page(
        &self,
        wire: pb::RedriveDeadLettersRequest,
        trace: TraceContext,
    ) -> Result<pb::RedriveDeadLettersResponse, Fault> {
        let pb::RedriveDeadLettersRequest { filter: which, terms: how, dry_run, page_size, page_token } =
            wire;
        let mut faults = Faults::default();
        let terms = terms(how, dry_run, trace, &mut faults);
        let (ids, next_page_token) = self.open(which, page_size, &page_token, faults).await?;
        let this = self.clone();
        let work = move |task| {
            let (this, terms) = (this.clone(), terms.clone());
            async move { this.redrive(task, &terms).await }
        };
        Ok(pb::RedriveDeadLettersResponse { results: each(ids, work).await, next_page_token })
    }

    /// Discards one; whether it had been before.
    pub(super) async fn discard(&self, task: TaskId, by: String, note: String) -> Result<bool, Fault> {
        Ok(self.runtime.discard(task, Discard { by, note }).await?)
    }

    /// Discards a page.
    pub(super) async fn discard_page(
        &self,
        wire: pb::DiscardDeadLettersRequest,
    ) -> Result<pb::DiscardDeadLettersResponse, Fault> {
        let pb::DiscardDeadLettersRequest { filter: which, by, note, dry_run, page_size, page_token } = wire;
        let mut faults = Faults::default();
        signed(&by, &note, "", &mut faults);
        let (ids, next_page_token) = self.open(which, page_size, &page_token, faults).await?;
        let this = self.clone();
        let work = move |task: TaskId| {
            let (this, by, note) = (this.clone(), by.clone(), note.clone());
            async move {
                let existing = !dry_run && this.discard(task, by, note).await?;
                let task_id = task.to_string();
                Ok(pb::DeadLetterResult { task_id, existing, ..pb::DeadLetterResult::default() })
            }
        };
        Ok(pb::DiscardDeadLettersResponse { results: each(ids, work).await, next_page_token })
    }

    /// The open dead letters of a page, and where the next one begins.
    async fn open(
        &self,
        which: Option<pb::DeadLetterFilter>,
        page_size: i32,
        page_token: &str,
        mut faults: Faults,
    ) -> Result<(Vec<TaskId>, String), Fault> {
        let filter = filter(which.as_ref(), &mut faults);
        let size = size(page_size, SETTLED_A_CALL, &mut faults);
        let filter = faults.finish(Some(filter)).map_err(Fault::InvalidMessage)?;
        let scope = Scope::of("open dead letters", &which.unwrap_or_default());
        let after = scope.task(page_token)?;
        let (ids, scanned_to) = self.runtime.dead_letter_ids(filter, after, size).await?;
        Ok((ids, scanned_to.map(|place| scope.after_task(place)).unwrap_or_default()))
    }
}

/// Why a redrive of it is refused whatever its terms, if it is.
fn unfit(view: &TaskView) -> Option<Rejection> {
    let Some(letter) = &view.dead_letter else { return Some(Rejection::NotADeadLetter(view.summary.state)) };
    if let Some(parent) = &view.parent {
        return Some(Rejection::RedriveOfChild { parent: parent.task });
    }
    let (what, at) = letter.settled.clone().zip(letter.at)?;
    Some(Rejection::LetterSettled(Box::new(SettledLetter { what, at })))
}

fn refused(faults: &[Violation]) -> pb::RedrivePlan {
    pb::RedrivePlan {
        refusal: "the contract would be refused now: redrive it with changes".to_owned(),
        violations: violations_out(faults),
        ..pb::RedrivePlan::default()
    }
}

/// Does the work for each, a few at once, and says what became of each, in order.
async fn each<F>(ids: Vec<TaskId>, work: impl Fn(TaskId) -> F) -> Vec<pb::DeadLetterResult>
where
    F: Future<Output = Result<pb::DeadLetterResult, Fault>> + Send + 'static,
{
    let mut results = vec![pb::DeadLetterResult::default(); ids.len()];
    let mut left = ids.into_iter().enumerate();
    let mut at_work = JoinSet::new();
    loop {
        while at_work.len() < AT_ONCE
            && let Some((index, task)) = left.next()
        {
            let result = work(task);
            at_work.spawn(async move { (index, task, result.await) });
        }
        match at_work.join_next().await {
            None => return results,
            Some(Ok((index, task, result))) => {
                results[index] = result.unwrap_or_else(|fault| refusal(task, &fault));
            }
            Some(Err(error)) => tracing::error!(%error, "the work on a dead letter broke off"),
        }
    }
}

fn refusal(task: TaskId, fault: &Fault) -> pb::DeadLetterResult {
    let Verdict { code, reason, retry_after, free_of_side_effects: _ } = fault.verdict();
    let violations = match fault {
        Fault::ContractRefused(faults) => violations_out(faults),
        _ => Vec::new(), // The message says it all.
    };
    let refusal = pb::DeadLetterRefusal {
        code: code as i32,
        reason: reason.to_owned(),
        message: fault.message(),
        violations,
        retryable: retry_after.is_some(),
    };
    pb::DeadLetterResult { task_id: task.to_string(), refusal: Some(refusal), ..Default::default() }
}
