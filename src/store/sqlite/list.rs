//! Lists with filters and pages. Each query walks one index in the order of the list and stops at its limit, so that a page
//! costs a page. Never offers a query a choice that statistics could turn the wrong way.

use std::{cmp::Reverse, collections::BTreeSet};

use rusqlite::{Connection, params_from_iter, types::Value};

use super::{
    read::{ESCALATION_COLUMNS, SUMMARY_COLUMNS, to_escalation, to_summary},
    text::{limit, number, word},
};
use crate::{
    store::{
        StoreError,
        record::{EscalationRow, PageAfter, SummaryRow, TaskFilter, own_label},
    },
    types::{
        ids::{AgentName, EscalationId, TaskId},
        outcome::{Cause, TaskState},
        time::Timestamp,
    },
};

/// The index a query walks.
enum Walk<'f> {
    Label(&'f str, &'f str),
    Agent(&'f AgentName),
    State(TaskState),
    Cause(Cause),
}

/// The walks that together meet every row that fits, each once: the open states are few rows, a label or an agent usually
/// fewer than an end.
fn walks(filter: &TaskFilter) -> Vec<Walk<'_>> {
    let states: BTreeSet<TaskState> = filter.states.iter().copied().collect();
    let causes: BTreeSet<Cause> = filter.causes.iter().copied().collect();
    let only_open = !states.is_empty() && states.iter().all(|state| !state.is_end());
    match (filter.labels.first(), &filter.agent) {
        _ if only_open => states.into_iter().map(Walk::State).collect(),
        (Some((key, value)), _) => vec![Walk::Label(key, value)],
        (None, Some(agent)) => vec![Walk::Agent(agent)],
        // Most that ended are COMPLETED, and have no place in the index by cause.
        (None, None) if !causes.is_empty() && !causes.contains(&Cause::Completed) => {
            causes.into_iter().map(Walk::Cause).collect()
        }
        (None, None) if !states.is_empty() => states.into_iter().map(Walk::State).collect(),
        (None, None) => TaskState::ALL.into_iter().map(Walk::State).collect(),
    }
}

/// A statement in the making: its text and its values, in step.
#[derive(Default)]
struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    fn push(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(sql);
        self.values.extend(values);
    }

    fn push_any_of(&mut self, column: &str, values: Vec<Value>) {
        if !values.is_empty() {
            let marks = vec!["?"; values.len()].join(", ");
            self.push(&format!(" AND {column} IN ({marks})"), values);
        }
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// Summary rows that fit, newest first. To be called within a transaction: a task that changes its state between two walks
/// would be met twice or never.
pub(super) fn tasks(
    snapshot: &Connection,
    filter: &TaskFilter,
    after: Option<PageAfter>,
    rows: usize,
) -> Result<Vec<SummaryRow>, StoreError> {
    let filter = &with_parent(filter);
    let mut found = Vec::new();
    for walk in walks(filter) {
        let query = walk_query(&walk, filter, after, rows)?;
        let mut statement = snapshot.prepare_cached(&query.sql)?;
        for row in statement.query_and_then(params_from_iter(query.values), to_summary)? {
            found.push(row?);
        }
    }
    found.sort_by_key(|row| Reverse((row.created_at, row.task)));
    found.truncate(rows);
    Ok(found)
}

/// A parent is a label that only the server gives: it is what is walked, unless an open state is.
fn with_parent(filter: &TaskFilter) -> TaskFilter {
    let mut filter = filter.clone();
    if let Some(parent) = filter.parent.take() {
        filter.labels.insert(0, (own_label::PARENT.to_owned(), parent.to_string()));
    }
    if let Some(namespace) = filter.namespace.take_if(|namespace| !namespace.is_default()) {
        filter.labels.push((own_label::NAMESPACE.to_owned(), namespace.to_string()));
    }
    filter
}

fn walk_query(
    walk: &Walk<'_>,
    filter: &TaskFilter,
    after: Option<PageAfter>,
    rows: usize,
) -> Result<Query, StoreError> {
    let mut query = Query::default();
    query.push(&format!("SELECT {SUMMARY_COLUMNS} FROM "), []);
    // `w` is the index that is walked. CROSS JOIN and INDEXED BY leave the planner no other way.
    match walk {
        Walk::Label(key, value) => query.push(
            "task_labels w CROSS JOIN tasks t ON t.task_id = w.task_id WHERE w.key = ? AND w.value = ?",
            [text(key), text(value)],
        ),
        Walk::Agent(agent) => query.push(
            "task_agents w CROSS JOIN tasks t ON t.task_id = w.task_id WHERE w.agent = ?",
            [text(agent.as_str())],
        ),
        Walk::State(state) => {
            query.push("tasks t INDEXED BY tasks_by_state WHERE t.state = ?", [Value::Text(word(state)?)])
        }
        Walk::Cause(cause) => {
            // In the words of the index, or it is not used.
            let sql = "tasks t INDEXED BY tasks_by_cause WHERE t.cause IS NOT NULL AND t.cause <> 'COMPLETED' AND t.cause = ?";
            query.push(sql, [Value::Text(word(cause)?)]);
        }
    }
    let walked = if matches!(walk, Walk::Label(..) | Walk::Agent(_)) { "w" } else { "t" };
    narrow(&mut query, walked, filter)?;
    if let Some(PageAfter { created_at, task }) = after {
        let place = [Value::Integer(number(created_at.0)), Value::Text(task.to_string())];
        query.push(&format!(" AND ({walked}.created_at, {walked}.task_id) < (?, ?)"), place);
    }
    let order = format!(" ORDER BY {walked}.created_at DESC, {walked}.task_id DESC LIMIT ?");
    query.push(&order, [Value::Integer(limit(rows))]);
    Ok(query)
}

/// Adds every term of the filter. That the walk has met some already costs next to nothing.
fn narrow(query: &mut Query, walked: &str, filter: &TaskFilter) -> Result<(), StoreError> {
    // A parent is a label by now, and so is a namespace, but for the default: tasks without one.
    let TaskFilter { states, causes, agent, labels, since, parent: _, namespace } = filter;
    let states = states.iter().map(|state| word(state).map(Value::Text)).collect::<Result<_, _>>()?;
    query.push_any_of("t.state", states);
    let causes = causes.iter().map(|cause| word(cause).map(Value::Text)).collect::<Result<_, _>>()?;
    query.push_any_of("t.cause", causes);
    let same_task = format!("created_at = {walked}.created_at AND task_id = {walked}.task_id");
    for (key, value) in labels {
        let sql =
            format!(" AND EXISTS (SELECT 1 FROM task_labels WHERE key = ? AND value = ? AND {same_task})");
        query.push(&sql, [text(key), text(value)]);
    }
    if namespace.is_some() {
        let sql = format!(" AND NOT EXISTS (SELECT 1 FROM task_labels WHERE key = ? AND {same_task})");
        query.push(&sql, [text(own_label::NAMESPACE)]);
    }
    if let Some(agent) = agent {
        let sql = format!(" AND EXISTS (SELECT 1 FROM task_agents WHERE agent = ? AND {same_task})");
        query.push(&sql, [text(agent.as_str())]);
    }
    // Always there, so that a walk by age has a bound its index can serve.
    let since = number(since.unwrap_or_default().0);
    query.push(&format!(" AND {walked}.created_at >= ?"), [Value::Integer(since)]);
    Ok(())
}

/// Questions that fit, oldest first.
pub(super) fn escalations(
    reader: &Connection,
    states: &[String],
    task: Option<TaskId>,
    after: Option<(Timestamp, EscalationId)>,
    rows: usize,
) -> Result<Vec<EscalationRow>, StoreError> {
    let mut query = Query::default();
    query.push(&format!("SELECT {ESCALATION_COLUMNS} FROM escalations WHERE asked_at >= 0"), []);
    query.push_any_of("state", states.iter().map(|state| text(state)).collect());
    if let Some(task) = task {
        query.push(" AND task_id = ?", [Value::Text(task.to_string())]);
    }
    if let Some((asked_at, EscalationId { task, number: n })) = after {
        let place =
            [Value::Integer(number(asked_at.0)), Value::Text(task.to_string()), Value::Integer(i64::from(n))];
        query.push(" AND (asked_at, task_id, number) > (?, ?, ?)", place);
    }
    query.push(" ORDER BY asked_at, task_id, number LIMIT ?", [Value::Integer(limit(rows))]);
    let mut statement = reader.prepare_cached(&query.sql)?;
    statement.query_and_then(params_from_iter(query.values), to_escalation)?.collect()
}

/// How SQLite would run each walk of a list, for tests.
#[cfg(test)]
pub(super) fn plans(
    reader: &Connection,
    filter: &TaskFilter,
    after: Option<PageAfter>,
) -> Result<Vec<String>, StoreError> {
    let plan = |walk| {
        let query = walk_query(&walk, filter, after, 10)?;
        let mut statement = reader.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql))?;
        let lines =
            statement.query_map(params_from_iter(query.values), |row| row.get::<_, String>("detail"))?;
        Ok(lines.collect::<Result<Vec<_>, _>>()?.join("; "))
    };
    walks(filter).into_iter().map(plan).collect()
}
