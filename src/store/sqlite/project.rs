//! What commits have changed, written into the tables in one transaction that also says how far they have come. Never keeps a
//! part of it, and never writes a task twice that changed twice.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params};

use super::{
    body::Place,
    overlay::{Generation, MOST_OF_A_SUM, Mark, Pending},
    text::{Columns, TaskText, json, labels as to_labels, number, parse_labels, word},
};
use crate::{
    store::{
        StoreError,
        record::{EscalationRow, SummaryRow},
    },
    types::{
        ids::{AgentName, TaskId},
        time::Timestamp,
    },
};

/// Which rows of tasks have their view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// All: it cannot be had elsewhere.
    All,
    /// Those of tasks with many events or large ones. The others' are made of the events when somebody lists them, which most
    /// never are; a view is the larger part of a row.
    OfLong,
}

impl Kept {
    /// Events up to which a view is made when it is wanted, and their bytes in the journal: a tenth of a millisecond each.
    const SHORT: (u64, u64) = if cfg!(test) { (3, 1_024) } else { (32, 64 * 1_024) };

    /// `folds`: views can be made of events.
    pub(super) const fn when(folds: bool) -> Self {
        if folds { Self::OfLong } else { Self::All }
    }

    /// `bytes`: of all the task's events.
    fn view(self, summary: &SummaryRow, bytes: u64) -> Option<&str> {
        match self {
            Self::OfLong if summary.seq <= Self::SHORT.0 && bytes <= Self::SHORT.1 => None,
            Self::OfLong | Self::All => Some(&summary.view),
        }
    }
}

/// Writes a generation.
pub(super) fn project(views: &mut Connection, generation: &Generation, kept: Kept) -> Result<(), StoreError> {
    let transaction = views.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write(&transaction, generation, kept)?;
    Ok(transaction.commit()?)
}

/// The same within a transaction.
pub(super) fn write(
    transaction: &Transaction<'_>,
    generation: &Generation,
    kept: Kept,
) -> Result<(), StoreError> {
    let mut statements = Statements::prepare(transaction, kept)?;
    // In the order of their ids: neighbours share pages, and the same journal makes the same tables.
    let mut tasks: Vec<(&TaskId, &Pending)> = generation.tasks.iter().collect();
    tasks.sort_unstable_by_key(|(task, _)| **task);
    for (task, pending) in tasks {
        statements.task(*task, pending)?;
    }
    for (name, more) in &generation.sums {
        statements.add_sum.execute(params![name, number(*more), number(MOST_OF_A_SUM)])?;
    }
    let Mark { until, row, opening } = &generation.mark;
    statements.mark.execute(params![number(*until), number(*row), opening])?;
    Ok(())
}

/// The statements, prepared once and kept over all rows.
struct Statements<'c> {
    kept: Kept,
    known: CachedStatement<'c>,
    add_task: CachedStatement<'c>,
    change_task: CachedStatement<'c>,
    touch_task: CachedStatement<'c>,
    add_places: CachedStatement<'c>,
    put_escalation: CachedStatement<'c>,
    add_sum: CachedStatement<'c>,
    mark: CachedStatement<'c>,
    terms: TermStatements<'c>,
}

struct TermStatements<'c> {
    add_label: CachedStatement<'c>,
    remove_label: CachedStatement<'c>,
    add_agent: CachedStatement<'c>,
    remove_agent: CachedStatement<'c>,
}

/// What the tables hold of a summary beyond the columns that every event changes, as text.
#[derive(PartialEq, Eq)]
struct Face {
    state: String,
    ended_by: Option<String>,
    cause: Option<String>,
    owner: String,
    agents: String,
    labels: String,
    created_at: u64,
}

impl Face {
    fn of(summary: &SummaryRow) -> Result<Self, StoreError> {
        Ok(Self {
            state: word(&summary.state)?,
            ended_by: summary.ended_by.as_ref().map(word).transpose()?,
            cause: summary.cause.as_ref().map(word).transpose()?,
            owner: summary.owner.as_str().to_owned(),
            agents: json(&summary.agents)?,
            labels: to_labels(&summary.labels)?,
            created_at: summary.created_at.0,
        })
    }
}

/// A task as the tables have it before.
struct Known {
    id: i64,
    /// Of its events in the journal.
    bytes: u64,
    face: Face,
}

/// One thing a task can be found by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Term {
    Label(Timestamp, String, String),
    Agent(Timestamp, String),
}

fn terms(
    created_at: Timestamp,
    owner: &str,
    agents: &[AgentName],
    labels: &[(String, String)],
) -> BTreeSet<Term> {
    let agents = agents.iter().map(AgentName::as_str).chain([owner]);
    let agents = agents.map(|agent| Term::Agent(created_at, agent.to_owned()));
    let labels = labels.iter().map(|(key, value)| Term::Label(created_at, key.clone(), value.clone()));
    agents.chain(labels).collect()
}

fn terms_of(summary: &SummaryRow) -> BTreeSet<Term> {
    terms(summary.created_at, summary.owner.as_str(), &summary.agents, &summary.labels)
}

fn known_terms(face: &Face) -> Result<BTreeSet<Term>, StoreError> {
    let broken =
        |error: serde_json::Error| StoreError::Corrupt(format!("a task's agents or labels: {error}"));
    let agents: Vec<AgentName> = serde_json::from_str(&face.agents).map_err(broken)?;
    let labels = parse_labels(&face.labels).map_err(broken)?;
    Ok(terms(Timestamp(face.created_at), &face.owner, &agents, &labels))
}

impl<'c> Statements<'c> {
    fn prepare(transaction: &'c Transaction<'_>, kept: Kept) -> Result<Self, StoreError> {
        let prepare = |sql| transaction.prepare_cached(sql);
        Ok(Self {
            kept,
            known: prepare(
                "SELECT id, bytes, state, ended_by, cause, owner, agents, labels, created_at FROM tasks \
                 WHERE task_id = ?1",
            )?,
            add_task: prepare(
                "INSERT INTO tasks (task_id, state, ended_by, cause, owner, agents, labels, created_at, updated_at, seq, \
                 bytes, parked, places, view) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?,
            change_task: prepare(
                "UPDATE tasks SET state = ?2, ended_by = ?3, cause = ?4, owner = ?5, agents = ?6, labels = ?7, \
                 created_at = ?8, updated_at = ?9, seq = ?10, bytes = ?11, parked = ?12, view = ?13 WHERE id = ?1",
            )?,
            touch_task: prepare(
                "UPDATE tasks SET updated_at = ?2, seq = ?3, bytes = ?4, parked = ?5, view = ?6 WHERE id = ?1",
            )?,
            add_places: prepare("INSERT INTO task_events (task, seq, places) VALUES (?1, ?2, ?3)")?,
            put_escalation: prepare(
                "INSERT INTO escalations (task_id, number, open, state, asked_at, view) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (task_id, number) DO UPDATE SET open = excluded.open, state = excluded.state, \
                 asked_at = excluded.asked_at, view = excluded.view",
            )?,
            add_sum: prepare(
                "INSERT INTO sums (name, value) VALUES (?1, ?2) \
                 ON CONFLICT (name) DO UPDATE SET value = min(value + excluded.value, ?3)",
            )?,
            mark: prepare(
                "INSERT OR REPLACE INTO projected (one, until, row, opening) VALUES (1, ?1, ?2, ?3)",
            )?,
            terms: TermStatements::prepare(transaction)?,
        })
    }

    fn task(&mut self, task: TaskId, pending: &Pending) -> Result<(), StoreError> {
        let Pending { is_new, summary, escalations, places } = pending;
        let text = TaskText::new(task);
        let text = text.as_str();
        let known = if *is_new { None } else { self.known(text)? };
        let more: u64 = places.iter().map(|place| place.bytes).sum();
        match (known, summary) {
            (None, Some(summary)) if *is_new => self.add_task(text, summary, places, more)?,
            (Some(Known { id, bytes, face }), summary) => {
                if let Some(summary) = summary {
                    self.change_task(id, text, &face, (summary, bytes.saturating_add(more)))?;
                }
                if let Some(first) = places.first() {
                    self.add_places.execute(params![
                        id,
                        number(first.after.saturating_add(1)),
                        json(places)?
                    ])?;
                }
            }
            (None, _) => return Err(StoreError::Corrupt(format!("the tables lack task {text}"))),
        }
        escalations.values().try_for_each(|row| self.escalation(text, row))
    }

    fn known(&mut self, task: &str) -> Result<Option<Known>, StoreError> {
        let as_is = |text: &str| Ok::<_, std::convert::Infallible>(text.to_owned());
        let to_known = |row: &rusqlite::Row<'_>| {
            let mut columns = Columns::of(row);
            let (id, bytes) = (number(columns.number()?), columns.number()?);
            let face = Face {
                state: columns.string()?,
                ended_by: columns.parsed_or_null(as_is)?,
                cause: columns.parsed_or_null(as_is)?,
                owner: columns.string()?,
                agents: columns.string()?,
                labels: columns.string()?,
                created_at: columns.number()?,
            };
            Ok(Known { id, bytes, face })
        };
        self.known.query_and_then([task], to_known)?.next().transpose()
    }

    fn add_task(
        &mut self,
        task: &str,
        summary: &SummaryRow,
        places: &[Place],
        bytes: u64,
    ) -> Result<(), StoreError> {
        let Face { state, ended_by, cause, owner, agents, labels, created_at } = &Face::of(summary)?;
        let (created_at, updated_at) = (number(*created_at), number(summary.updated_at.0));
        let (seq, parked, view) =
            (number(summary.seq), summary.parked.as_deref(), self.kept.view(summary, bytes));
        let (places, bytes) = (json(&places)?, number(bytes));
        self.add_task.execute(params![
            task, state, ended_by, cause, owner, agents, labels, created_at, updated_at, seq, bytes, parked,
            places, view
        ])?;
        self.terms.change(task, &BTreeSet::new(), &terms_of(summary))
    }

    fn change_task(
        &mut self,
        id: i64,
        task: &str,
        before: &Face,
        (summary, bytes): (&SummaryRow, u64),
    ) -> Result<(), StoreError> {
        let face = Face::of(summary)?;
        let (updated_at, seq) = (number(summary.updated_at.0), number(summary.seq));
        let (parked, view) = (summary.parked.as_deref(), self.kept.view(summary, bytes));
        let bytes = number(bytes);
        if *before == face {
            // The most frequent case of a long task, and the cheapest: no column of an index is named.
            self.touch_task.execute(params![id, updated_at, seq, bytes, parked, view])?;
            return Ok(());
        }
        let Face { state, ended_by, cause, owner, agents, labels, created_at } = &face;
        let at = number(*created_at);
        self.change_task.execute(params![
            id, state, ended_by, cause, owner, agents, labels, at, updated_at, seq, bytes, parked, view
        ])?;
        if (&before.owner, &before.agents, &before.labels, before.created_at)
            == (owner, agents, labels, *created_at)
        {
            return Ok(());
        }
        self.terms.change(task, &known_terms(before)?, &terms_of(summary))
    }

    fn escalation(&mut self, task: &str, row: &EscalationRow) -> Result<(), StoreError> {
        let EscalationRow { id: escalation, open, state, asked_at, view } = row;
        self.put_escalation.execute(params![
            task,
            escalation.number,
            open,
            state,
            number(asked_at.0),
            view
        ])?;
        Ok(())
    }
}

impl<'c> TermStatements<'c> {
    fn prepare(transaction: &'c Transaction<'_>) -> Result<Self, StoreError> {
        let prepare = |sql| transaction.prepare_cached(sql);
        Ok(Self {
            add_label: prepare(
                "INSERT INTO task_labels (task_id, created_at, key, value) VALUES (?1, ?2, ?3, ?4)",
            )?,
            remove_label: prepare(
                "DELETE FROM task_labels WHERE task_id = ?1 AND created_at = ?2 AND key = ?3 AND value = ?4",
            )?,
            add_agent: prepare("INSERT INTO task_agents (task_id, created_at, agent) VALUES (?1, ?2, ?3)")?,
            remove_agent: prepare(
                "DELETE FROM task_agents WHERE task_id = ?1 AND created_at = ?2 AND agent = ?3",
            )?,
        })
    }

    fn change(
        &mut self,
        id: &str,
        before: &BTreeSet<Term>,
        after: &BTreeSet<Term>,
    ) -> Result<(), StoreError> {
        for gone in before.difference(after) {
            match gone {
                Term::Label(at, key, value) => {
                    self.remove_label.execute(params![id, number(at.0), key, value])
                }
                Term::Agent(at, agent) => self.remove_agent.execute(params![id, number(at.0), agent]),
            }?;
        }
        for new in after.difference(before) {
            match new {
                Term::Label(at, key, value) => self.add_label.execute(params![id, number(at.0), key, value]),
                Term::Agent(at, agent) => self.add_agent.execute(params![id, number(at.0), agent]),
            }?;
        }
        Ok(())
    }
}
