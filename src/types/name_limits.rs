//! A limit by name: one for each name that has its own, and one for all others. Never here: what is limited.

use std::{collections::BTreeMap, fmt, str::FromStr};

use super::ids::AgentName;

/// Stands for every name that has no limit of its own.
const ALL_OTHERS: &str = "*";
/// Names that may have a limit of their own.
const MAX_NAMES: usize = 1_000;
/// The greatest limit.
const MAX_LIMIT: u32 = 10_000_000;

/// See the file's header. Written as `researcher=4, writer=2, *=20`; without `*` the others have no limit.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct NameLimits {
    named: BTreeMap<String, u32>,
    others: Option<u32>,
}

impl NameLimits {
    /// The same limit for every name.
    pub const fn all(limit: u32) -> Self {
        Self { named: BTreeMap::new(), others: Some(limit) }
    }

    /// With a limit for one name.
    pub fn with(mut self, name: &str, limit: u32) -> Self {
        self.named.insert(name.to_owned(), limit);
        self
    }

    /// The limit of a name; `None`: there is none. A limit of 0 that was written for a name means that it has none, whatever
    /// the others have.
    pub fn of(&self, name: &str) -> Option<u32> {
        self.named.get(name).copied().or(self.others).filter(|limit| *limit > 0)
    }

    /// Whether no name has one.
    pub fn is_empty(&self) -> bool {
        self.others.is_none_or(|limit| limit == 0) && self.named.values().all(|limit| *limit == 0)
    }
}

impl fmt::Display for NameLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.others.map(|limit| (ALL_OTHERS, limit));
        let all = self.named.iter().map(|(name, limit)| (name.as_str(), *limit)).chain(others);
        for (index, (name, limit)) in all.enumerate() {
            write!(f, "{}{name}={limit}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for NameLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameLimits({self})")
    }
}

impl FromStr for NameLimits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut limits = Self::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let wrong =
                || format!("{entry:?} is no limit. Write name=number, separated by commas, like a=4, *=20");
            let (name, number) = entry.split_once('=').ok_or_else(wrong)?;
            let (name, number) = (name.trim(), number.trim().replace('_', ""));
            let limit =
                number.parse().ok().filter(|limit| *limit <= MAX_LIMIT).ok_or_else(|| {
                    format!("{number:?} is no limit of {name}. Write 0 (none) to {MAX_LIMIT}")
                })?;
            let known = if name == ALL_OTHERS {
                limits.others.replace(limit)
            } else {
                name.parse::<AgentName>().map_err(|_| {
                    format!("{name:?} is no name. Write 1 to 64 characters of a-z, 0-9, _ and -, a letter first, or *")
                })?;
                limits.named.insert(name.to_owned(), limit)
            };
            if known.is_some() {
                return Err(format!("{name} has two limits. Write one"));
            }
        }
        if limits.named.len() > MAX_NAMES {
            return Err(format!("{} names have a limit. Write at most {MAX_NAMES}", limits.named.len()));
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_shown_as_people_write_them() {
        let limits: NameLimits =
            " writer=2,researcher = 1_000 , *=20, free=0".parse().expect("they are well formed");
        assert_eq!(limits.to_string(), "free=0, researcher=1000, writer=2, *=20");
        assert_eq!(limits.to_string().parse(), Ok(limits.clone()));
        let of = |name| limits.of(name);
        assert_eq!((of("writer"), of("reader"), of("free")), (Some(2), Some(20), None));
        assert_eq!("".parse::<NameLimits>().map(|limits| limits.of("a")), Ok(None));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_what_to_write() {
        for bad in ["4", "A=4", "a=b", "a=-1", "a=1, a=2", "*=1, *=2", "a=99999999999"] {
            assert!(bad.parse::<NameLimits>().is_err(), "{bad}");
        }
    }
}
