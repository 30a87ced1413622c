//! What the server keeps beside its journal, in the journal's file: agents and numbers. Never answers before it is durable.

use rusqlite::{Connection, TransactionBehavior, params};

use super::text::number;
use crate::store::{
    StoreError,
    record::{AgentRow, MAX_NUMBER},
};

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

/// Sets a named number. `sum` is what events have added to it, which is kept elsewhere: this takes it off.
pub(super) fn set_number(writer: &Connection, name: &str, value: u64, sum: u64) -> Result<(), StoreError> {
    if value > MAX_NUMBER {
        return Err(StoreError::Corrupt(format!("the number {name}: {value} is too large to be kept")));
    }
    let mut put = writer.prepare_cached(
        "INSERT INTO numbers (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?;
    put.execute(params![name, number(value) - number(sum)])?;
    Ok(())
}
