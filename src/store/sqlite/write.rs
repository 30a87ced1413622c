//! The one transaction of a commit. Never keeps a part of it: any error rolls all of it back.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params};

use super::text::{Columns, TaskText, json, labels as to_labels, number, parse_labels, word};
use crate::{
    store::{
        StoreError,
        record::{AgentRow, Append, EscalationRow, MAX_NUMBER, StoredEvent, SummaryRow},
    },
    types::{ids::AgentName, time::Timestamp},
};

/// Commits the appends with one fsync; the log's new end.
pub(super) fn commit(writer: &mut Connection, appends: &[Append]) -> Result<u64, StoreError> {
    appends.iter().try_for_each(Append::check)?;
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut statements = Statements::prepare(&transaction)?;
    for append in appends {
        statements.append(append)?;
    }
    statements.add(appends)?;
    drop(statements);
    let last = "SELECT coalesce(max(position), 0) FROM events";
    let end: i64 = transaction.prepare_cached(last)?.query_row([], |row| row.get(0))?;
    transaction.commit()?;
    u64::try_from(end).map_err(|_| StoreError::Corrupt(format!("the log ends at {end}")))
}

/// The statements of a commit, prepared once and kept over all its rows.
struct Statements<'c> {
    known: CachedStatement<'c>,
    add_task: CachedStatement<'c>,
    change_task: CachedStatement<'c>,
    touch_task: CachedStatement<'c>,
    add_event: CachedStatement<'c>,
    put_escalation: CachedStatement<'c>,
    add_number: CachedStatement<'c>,
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

/// A task as the tables have it before an append.
struct Known {
    seq: u64,
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
    fn prepare(transaction: &'c Transaction<'_>) -> Result<Self, StoreError> {
        let prepare = |sql| transaction.prepare_cached(sql);
        Ok(Self {
            known: prepare(
                "SELECT seq, state, ended_by, cause, owner, agents, labels, created_at FROM tasks WHERE task_id = ?1",
            )?,
            add_task: prepare(
                "INSERT INTO tasks (task_id, state, ended_by, cause, owner, agents, labels, created_at, updated_at, seq, \
                 parked, view) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?,
            change_task: prepare(
                "UPDATE tasks SET state = ?2, ended_by = ?3, cause = ?4, owner = ?5, agents = ?6, labels = ?7, \
                 created_at = ?8, updated_at = ?9, seq = ?10, parked = ?11, view = ?12 WHERE task_id = ?1",
            )?,
            touch_task: prepare(
                "UPDATE tasks SET updated_at = ?2, seq = ?3, parked = ?4, view = ?5 WHERE task_id = ?1",
            )?,
            add_event: prepare(
                "INSERT INTO events (task_id, seq, at, kind, version, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            put_escalation: prepare(
                "INSERT INTO escalations (task_id, number, open, state, asked_at, view) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (task_id, number) DO UPDATE SET open = excluded.open, state = excluded.state, \
                 asked_at = excluded.asked_at, view = excluded.view",
            )?,
            add_number: prepare(
                "INSERT INTO numbers (name, value) VALUES (?1, ?2) \
                 ON CONFLICT (name) DO UPDATE SET value = min(value + excluded.value, ?3)",
            )?,
            terms: TermStatements::prepare(transaction)?,
        })
    }

    fn append(&mut self, append: &Append) -> Result<(), StoreError> {
        let Append { task, expected_seq, events, summary, escalations, sums: _ } = append;
        let text = TaskText::new(*task);
        let id = text.as_str();
        let known = self.known(id)?;
        let found = known.as_ref().map_or(0, |known| known.seq);
        if found != *expected_seq {
            return Err(StoreError::Conflict { task: *task, expected: *expected_seq, found });
        }
        for event in events {
            self.event(id, event)?;
        }
        self.summary(id, known.map(|known| known.face), summary)?;
        escalations.iter().try_for_each(|row| self.escalation(id, row))
    }

    /// Adds what the appends add to named numbers: each once, however many tasks it comes from.
    fn add(&mut self, appends: &[Append]) -> Result<(), StoreError> {
        let mut sums = BTreeMap::<&str, u64>::new();
        for (name, more) in appends.iter().flat_map(|append| &append.sums) {
            let sum = sums.entry(name).or_default();
            *sum = sum.saturating_add(*more);
        }
        // Half of the greatest number: two such still add up to one that can be kept.
        let most = number(MAX_NUMBER / 2);
        for (name, more) in sums {
            self.add_number.execute(params![name, number(more.min(MAX_NUMBER / 2)), most])?;
        }
        Ok(())
    }

    fn known(&mut self, id: &str) -> Result<Option<Known>, StoreError> {
        let as_is = |text: &str| Ok::<_, std::convert::Infallible>(text.to_owned());
        let to_known = |row: &rusqlite::Row<'_>| {
            let mut columns = Columns::of(row);
            let seq = columns.number()?;
            let face = Face {
                state: columns.string()?,
                ended_by: columns.parsed_or_null(as_is)?,
                cause: columns.parsed_or_null(as_is)?,
                owner: columns.string()?,
                agents: columns.string()?,
                labels: columns.string()?,
                created_at: columns.number()?,
            };
            Ok(Known { seq, face })
        };
        self.known.query_and_then([id], to_known)?.next().transpose()
    }

    fn event(&mut self, id: &str, event: &StoredEvent) -> Result<(), StoreError> {
        let StoredEvent { seq, at, kind, version, body } = event;
        self.add_event.execute(params![id, number(*seq), number(at.0), kind, version, body])?;
        Ok(())
    }

    fn summary(&mut self, id: &str, before: Option<Face>, summary: &SummaryRow) -> Result<(), StoreError> {
        let face = Face::of(summary)?;
        let updated_at = number(summary.updated_at.0);
        let seq = number(summary.seq);
        if before.as_ref() == Some(&face) {
            // By far the most frequent case, and the cheapest: no column of an index is named.
            self.touch_task.execute(params![id, updated_at, seq, summary.parked, summary.view])?;
            return Ok(());
        }
        let Face { state, ended_by, cause, owner, agents, labels, created_at } = &face;
        let created_at = number(*created_at);
        let put = if before.is_some() { &mut self.change_task } else { &mut self.add_task };
        let (parked, view) = (&summary.parked, &summary.view);
        put.execute(params![
            id, state, ended_by, cause, owner, agents, labels, created_at, updated_at, seq, parked, view
        ])?;
        match before {
            None => self.terms.change(id, &BTreeSet::new(), &terms_of(summary)),
            Some(before)
                if (&before.agents, &before.labels, &before.owner) == (agents, labels, owner)
                    && before.created_at == face.created_at =>
            {
                Ok(())
            }
            Some(before) => self.terms.change(id, &known_terms(&before)?, &terms_of(summary)),
        }
    }

    fn escalation(&mut self, id: &str, row: &EscalationRow) -> Result<(), StoreError> {
        let EscalationRow { id: escalation, open, state, asked_at, view } = row;
        self.put_escalation.execute(params![id, escalation.number, open, state, number(asked_at.0), view])?;
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

/// Inserts or replaces agents; `first_seen` of a known one stays.
pub(super) fn upsert_agents(writer: &mut Connection, agents: &[AgentRow]) -> Result<(), StoreError> {
    if agents.iter().any(|row| row.first_seen.0.max(row.last_seen.0) > MAX_NUMBER) {
        return Err(StoreError::Corrupt("an agent: a time is too large to be kept".to_owned()));
    }
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut put = transaction.prepare_cached(
        "INSERT INTO agents (name, first_seen, last_seen, spec) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (name) DO UPDATE SET last_seen = excluded.last_seen, spec = excluded.spec",
    )?;
    for AgentRow { name, first_seen, last_seen, spec } in agents {
        put.execute(params![name.as_str(), number(first_seen.0), number(last_seen.0), spec])?;
    }
    drop(put);
    Ok(transaction.commit()?)
}

/// Sets a named number.
pub(super) fn set_number(writer: &Connection, name: &str, value: u64) -> Result<(), StoreError> {
    if value > MAX_NUMBER {
        return Err(StoreError::Corrupt(format!("the number {name}: {value} is too large to be kept")));
    }
    let mut put = writer.prepare_cached(
        "INSERT INTO numbers (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?;
    put.execute(params![name, number(value)])?;
    Ok(())
}
