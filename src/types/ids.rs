//! Ids and names: newtypes, parsed once. Never made up here: randomness comes in as an argument.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest agent or step name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest worker id, in bytes.
pub const MAX_WORKER_ID_BYTES: usize = 128;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not valid: write {rule}")]
pub struct InvalidName {
    what: &'static str,
    given: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, given: &str, rule: &'static str) -> Self {
        Self { what, given: given.chars().take(80).collect(), rule }
    }
}

/// A task's id. A UUID whose last 16 bits are the shard's number, so that the id alone finds the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(Uuid);

/// The UUID namespace of task ids that are derived from idempotency keys.
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x6261_696c_6977_4963_8b00_0000_0000_0001);

/// The UUID namespace of ids of children.
const CHILD_NAMESPACE: Uuid = Uuid::from_u128(0x6261_696c_6977_4963_8b00_0000_0000_0004);

/// The UUID namespace of ids of tasks that were made of dead letters.
const REDRIVE_NAMESPACE: Uuid = Uuid::from_u128(0x6261_696c_6977_4963_8b00_0000_0000_0005);

impl TaskId {
    /// The id of a task without an idempotency key: `unique` (a version 7 UUID) with the shard's number in it.
    pub fn with_shard(unique: Uuid, shard: u16) -> Self {
        let mut bytes = unique.into_bytes();
        bytes[14..].copy_from_slice(&shard.to_be_bytes());
        Self(Uuid::from_bytes(bytes))
    }

    /// The id of the task that an idempotency key names: the same key gives the same id, and so the same shard.
    pub fn from_key(key: &str, shards: u16) -> Self {
        assert!(shards > 0, "a database has at least one shard");
        let hash = Uuid::new_v5(&KEY_NAMESPACE, key.as_bytes());
        let bytes = hash.as_bytes();
        let shard = u16::from_be_bytes([bytes[0], bytes[1]]) % shards;
        Self::with_shard(hash, shard)
    }

    /// The id of the task that a lease's attempt submits under a name (its idempotency key, or what stands for one): the
    /// same name under the same attempt gives the same id, and no client's key can.
    pub fn of_child(lease: &Lease, name: &str, shards: u16) -> Self {
        assert!(shards > 0, "a database has at least one shard");
        let name = format!("{}/{}/{}/{name}", lease.task, lease.turn, lease.attempt);
        let hash = Uuid::new_v5(&CHILD_NAMESPACE, name.as_bytes());
        let bytes = hash.as_bytes();
        let shard = u16::from_be_bytes([bytes[0], bytes[1]]) % shards;
        Self::with_shard(hash, shard)
    }

    /// The id of the task that is made of this one when it is a dead letter: always the same, no client's key can be it, and
    /// on the same shard, so that one commit says both.
    pub fn of_redrive(self) -> Self {
        Self::with_shard(Uuid::new_v5(&REDRIVE_NAMESPACE, self.0.as_bytes()), self.shard())
    }

    /// The shard that owns the task.
    pub fn shard(self) -> u16 {
        let bytes = self.0.as_bytes();
        u16::from_be_bytes([bytes[14], bytes[15]])
    }

    /// The id as a UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for TaskId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| InvalidName::new("task id", text, "a UUID, as SubmitTask returned it"))
    }
}

const NAME_RULE: &str = "1 to 64 characters of a-z, 0-9, _ and -, starting with a letter";

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

fn is_worker_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_WORKER_ID_BYTES
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if $check(text) { Ok(Self(text.into())) } else { Err(InvalidName::new($what, text, $rule)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name_type!(
    /// A named role.
    AgentName,
    "agent name",
    is_name,
    NAME_RULE
);
name_type!(
    /// A namespace: whose tasks share a bulkhead, and a bound of open tasks.
    Namespace,
    "namespace",
    is_name,
    NAME_RULE
);
name_type!(
    /// A step's name within its plan.
    StepId,
    "step id",
    is_name,
    NAME_RULE
);
name_type!(
    /// A worker's own id, kept over reconnects.
    WorkerId,
    "worker id",
    is_worker_id,
    "1 to 128 characters of A-Z, a-z, 0-9, ., _, : and -"
);

/// The namespace of a task whose contract names none.
pub const DEFAULT_NAMESPACE: &str = "default";

impl Default for Namespace {
    /// The namespace of a task whose contract names none. All of them share one text.
    fn default() -> Self {
        static DEFAULT: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| DEFAULT_NAMESPACE.into());
        Self(DEFAULT.clone())
    }
}

impl Namespace {
    /// Whether it is that of contracts that name none.
    pub fn is_default(&self) -> bool {
        *self.0 == *DEFAULT_NAMESPACE
    }
}

/// A turn's number within its task, from 1.
pub type TurnNumber = u32;
/// An attempt's number within its turn, from 1.
pub type AttemptNumber = u32;

/// A lease: an opaque token, fenced. Inside it are the task, the turn, the attempt and 64 random bits, so that it finds
/// its shard without a look-up and cannot be guessed from an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lease {
    /// The task.
    pub task: TaskId,
    /// The turn.
    pub turn: TurnNumber,
    /// The attempt.
    pub attempt: AttemptNumber,
    /// The random part.
    pub secret: u64,
}

impl Lease {
    /// The longest text of one, in bytes.
    const TEXT_BYTES: usize = 32 + 1 + 10 + 1 + 10 + 1 + 16;
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{:016x}", self.task.0.simple(), self.turn, self.attempt, self.secret)
    }
}

impl From<Lease> for String {
    fn from(lease: Lease) -> Self {
        let mut text = Self::with_capacity(Lease::TEXT_BYTES);
        write!(text, "{lease}").expect("a text takes any text");
        text
    }
}

impl TryFrom<String> for Lease {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl FromStr for Lease {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parse = || {
            let mut parts = text.split('.');
            let lease = Self {
                task: TaskId(Uuid::try_parse(parts.next()?).ok()?),
                turn: parts.next()?.parse().ok()?,
                attempt: parts.next()?.parse().ok()?,
                secret: u64::from_str_radix(parts.next()?, 16).ok()?,
            };
            parts.next().is_none().then_some(lease)
        };
        parse()
            .ok_or_else(|| InvalidName::new("lease", text, "the lease exactly as the Assignment carried it"))
    }
}

/// A question's id: the task and the question's number within it, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EscalationId {
    /// The task.
    pub task: TaskId,
    /// The number.
    pub number: u32,
}

impl fmt::Display for EscalationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.number)
    }
}

impl FromStr for EscalationId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parse = || {
            let (task, number) = text.rsplit_once('.')?;
            Some(Self { task: task.parse().ok()?, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| {
            InvalidName::new("escalation id", text, "<task id>.<number>, as ListEscalations gives it")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_always_names_the_same_task_and_an_existing_shard() {
        let id = TaskId::from_key("order-17", 3);
        assert_eq!(id, TaskId::from_key("order-17", 3));
        assert_ne!(id, TaskId::from_key("order-18", 3));
        assert!(id.shard() < 3);
    }

    #[test]
    fn a_lease_survives_its_text_and_refuses_other_text() {
        let task = TaskId::with_shard(Uuid::from_u128(7), 2);
        let lease = Lease { task, turn: 3, attempt: 1, secret: 0xfeed };
        assert_eq!(lease.to_string().parse(), Ok(lease));
        assert_eq!(lease.task.shard(), 2);
        for bad in ["", "a.b.c.d", "7.1.1", &format!("{lease}.1")] {
            assert!(bad.parse::<Lease>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_refused_with_the_rule() {
        for bad in ["", "Upper", "1st", "has space", &"x".repeat(65)] {
            let error = bad.parse::<AgentName>().expect_err("must be refused").to_string();
            assert!(error.contains("starting with a letter"), "{error}");
        }
        assert!("web-researcher_2".parse::<AgentName>().is_ok());
    }
}
