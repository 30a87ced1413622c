//! Values as the tables hold them, and SQLite's errors as the store's. Never trusts what it reads.

use std::{collections::BTreeMap, error::Error};

use rusqlite::{ErrorCode, Row};
use serde::{Deserialize, Serialize, de::IntoDeserializer};

use crate::{
    store::{StoreError, record::MAX_NUMBER},
    types::{ids::TaskId, time::Timestamp},
};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        match &error {
            E::SqliteFailure(cause, _)
                if matches!(cause.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
            {
                Self::Corrupt(format!("{error}: restore a backup"))
            }
            // No row is written twice, and none that does not fit its table.
            E::SqliteFailure(cause, _) if cause.code == ErrorCode::ConstraintViolation => {
                Self::Corrupt(error.to_string())
            }
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..)
            | E::QueryReturnedNoRows => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// The text of a word that serde knows: "AWAITING_HUMAN".
pub(super) fn word(value: &impl Serialize) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        other => Err(StoreError::Corrupt(format!("a word to write is not one: {other:?}"))),
    }
}

/// A value as JSON text.
pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(format!("a value to write: {error}")))
}

/// Labels as a JSON object.
pub(super) fn labels(labels: &[(String, String)]) -> Result<String, StoreError> {
    json(&labels.iter().map(|(key, value)| (key, value)).collect::<BTreeMap<_, _>>())
}

/// A number for a column; the appends' check has refused those that are too large.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value.min(MAX_NUMBER)).unwrap_or(i64::MAX)
}

/// A limit for a query.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The text of a task's id, without an allocation.
pub(super) struct TaskText([u8; 36]);

impl TaskText {
    pub(super) fn new(task: TaskId) -> Self {
        let mut text = [0; 36];
        task.uuid().hyphenated().encode_lower(&mut text);
        Self(text)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a UUID is written in ASCII")
    }
}

/// Reads the columns of one row in order, and says which one is wrong.
pub(super) struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r Row<'r>) -> Self {
        Self { row, next: 0 }
    }

    fn wrong(&self, index: usize, why: impl std::fmt::Display) -> StoreError {
        let name = self.row.as_ref().column_name(index).unwrap_or("?");
        StoreError::Corrupt(format!("column {name} of a row: {why}"))
    }

    fn text(&mut self) -> Result<(usize, Option<&'r str>), StoreError> {
        let index = self.next;
        self.next += 1;
        let value = self.row.get_ref(index)?;
        value.as_str_or_null().map(|text| (index, text)).map_err(|error| self.wrong(index, error))
    }

    /// A parsed value, or none for NULL.
    pub(super) fn parsed_or_null<T, E: Error>(
        &mut self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, StoreError> {
        let (index, text) = self.text()?;
        text.map(parse).transpose().map_err(|error| self.wrong(index, error))
    }

    /// A parsed value.
    pub(super) fn parsed<T, E: Error>(
        &mut self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        let index = self.next;
        self.parsed_or_null(parse)?.ok_or_else(|| self.wrong(index, "it is NULL"))
    }

    /// Text as it stands, or none for NULL.
    pub(super) fn string_or_null(&mut self) -> Result<Option<String>, StoreError> {
        self.parsed_or_null(|text| Ok::<_, std::convert::Infallible>(text.to_owned()))
    }

    /// Text as it stands.
    pub(super) fn string(&mut self) -> Result<String, StoreError> {
        self.parsed(|text| Ok::<_, std::convert::Infallible>(text.to_owned()))
    }

    /// A number that is not negative.
    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        let index = self.next;
        self.next += 1;
        u64::try_from(self.row.get::<_, i64>(index)?).map_err(|error| self.wrong(index, error))
    }

    /// A time.
    pub(super) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.number().map(Timestamp)
    }

    /// A number that fits a smaller type.
    pub(super) fn small<T: TryFrom<u64, Error: std::fmt::Display>>(&mut self) -> Result<T, StoreError> {
        let index = self.next;
        let number = self.number()?;
        T::try_from(number).map_err(|error| self.wrong(index, error))
    }
}

/// Parses a word that serde knows.
pub(super) fn parse_word<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, serde::de::value::Error> {
    T::deserialize(text.into_deserializer())
}

/// Parses labels from their JSON object; they come sorted by key.
pub(super) fn parse_labels(text: &str) -> Result<Vec<(String, String)>, serde_json::Error> {
    serde_json::from_str::<BTreeMap<String, String>>(text).map(|labels| labels.into_iter().collect())
}
