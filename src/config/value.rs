//! One value of a setting: how it is read, shown and bounded. Knows nothing of where it came from.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::LogFormat;
use crate::types::name_limits::NameLimits;

/// Where a value is kept in `Settings`.
pub enum Slot<'a> {
    /// Yes or no.
    Switch(&'a mut bool),
    /// A count.
    Count(&'a mut u32),
    /// A large count.
    Big(&'a mut u64),
    /// A time.
    Time(&'a mut Duration),
    /// A time with a default that depends on other settings.
    DerivedTime(&'a mut Option<Duration>),
    /// An address and port.
    Address(&'a mut SocketAddr),
    /// An address and port that need not be there.
    OptionalAddress(&'a mut Option<SocketAddr>),
    /// A file.
    Path(&'a mut PathBuf),
    /// A file that need not be there.
    OptionalPath(&'a mut Option<PathBuf>),
    /// Free text.
    Text(&'a mut String),
    /// A way of writing log lines.
    Format(&'a mut LogFormat),
    /// Limits by name.
    Limits(&'a mut NameLimits),
}

/// The least and the most a value may be, both included.
#[derive(Clone, Copy, Debug)]
pub enum Bounds {
    /// None beyond those of the type.
    Free,
    /// Of a count.
    Count(u64, u64),
    /// Of a time.
    Time(Duration, Duration),
}

impl Bounds {
    /// In words: "1 to 64"; empty where there are none.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Free => String::new(),
            Self::Count(least, most) => format!("{least} to {most}"),
            Self::Time(least, most) => format!("{} to {}", show_duration(least), show_duration(most)),
        }
    }
}

impl Slot<'_> {
    /// Reads `text` into the slot.
    ///
    /// # Errors
    /// What is wrong and what to write, without the name of the setting.
    pub fn set(self, text: &str, bounds: Bounds) -> Result<(), String> {
        match self {
            Self::Switch(slot) => *slot = switch(text)?,
            Self::Count(slot) => {
                let number = count(text, bounds)?;
                *slot = u32::try_from(number).map_err(|_| format!("{number} is too large"))?;
            }
            Self::Big(slot) => *slot = count(text, bounds)?,
            Self::Time(slot) => *slot = time(text, bounds)?,
            Self::DerivedTime(slot) => *slot = Some(time(text, bounds)?),
            Self::Address(slot) => *slot = address(text)?,
            Self::OptionalAddress(slot) => *slot = Some(address(text)?),
            Self::Path(slot) => *slot = PathBuf::from(text),
            Self::OptionalPath(slot) => *slot = Some(PathBuf::from(text)),
            Self::Text(slot) => text.clone_into(slot),
            Self::Format(slot) => *slot = format(text)?,
            Self::Limits(slot) => *slot = text.parse()?,
        }
        Ok(())
    }

    /// As it would be written in the file, without quotes; empty for a derived time that is not set.
    #[must_use]
    pub fn show(self) -> String {
        match self {
            Self::Switch(slot) => slot.to_string(),
            Self::Count(slot) => slot.to_string(),
            Self::Big(slot) => slot.to_string(),
            Self::Time(slot) => show_duration(*slot),
            Self::DerivedTime(slot) => slot.map(show_duration).unwrap_or_default(),
            Self::Address(slot) => slot.to_string(),
            Self::OptionalAddress(slot) => slot.map(|addr| addr.to_string()).unwrap_or_default(),
            Self::Path(slot) => slot.display().to_string(),
            Self::OptionalPath(slot) => slot.as_ref().map(|p| p.display().to_string()).unwrap_or_default(),
            Self::Text(slot) => slot.clone(),
            Self::Limits(slot) => slot.to_string(),
            Self::Format(LogFormat::Text) => "text".to_owned(),
            Self::Format(LogFormat::Json) => "json".to_owned(),
        }
    }

    /// Whether the file writes it without quotes.
    #[must_use]
    pub fn bare(&self) -> bool {
        matches!(self, Self::Switch(_) | Self::Count(_) | Self::Big(_))
    }

    /// What stands for the value in help.
    #[must_use]
    pub fn placeholder(&self) -> &'static str {
        match self {
            Self::Switch(_) => "BOOL",
            Self::Count(_) | Self::Big(_) => "N",
            Self::Time(_) | Self::DerivedTime(_) => "DURATION",
            Self::Address(_) | Self::OptionalAddress(_) => "HOST:PORT",
            Self::Path(_) | Self::OptionalPath(_) => "FILE",
            Self::Text(_) => "FILTER",
            Self::Format(_) => "text|json",
            Self::Limits(_) => "NAME=N,...",
        }
    }
}

/// A duration as people write it: "15s", "1day 2h". Days are the largest unit: months have no fixed length.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    const DAY: u64 = 86_400;
    let days = duration.as_secs() / DAY;
    let rest = duration.saturating_sub(Duration::from_secs(days.saturating_mul(DAY)));
    let days_words = match days {
        0 => String::new(),
        1 => "1day".to_owned(),
        _ => format!("{days}days"),
    };
    if days > 0 && rest.is_zero() {
        return days_words;
    }
    format!("{days_words} {}", humantime::format_duration(rest)).trim_start().to_owned()
}

fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither yes nor no. Write true or false")),
    }
}

fn count(text: &str, bounds: Bounds) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is not a whole number. Write digits, like 1000 or 1_000"))?;
    match bounds {
        Bounds::Count(least, most) if !(least..=most).contains(&number) => {
            Err(format!("{number} is out of bounds. Write {}", bounds.words()))
        }
        _ => Ok(number),
    }
}

fn time(text: &str, bounds: Bounds) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|_| {
        format!("{text:?} is not a duration. Write a number and a unit, like 15s, 500ms or 7days")
    })?;
    match bounds {
        Bounds::Time(least, most) if !(least..=most).contains(&duration) => {
            Err(format!("{} is out of bounds. Write {}", show_duration(duration), bounds.words()))
        }
        _ => Ok(duration),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        format!("{text:?} is not an address and port. Write one like 127.0.0.1:7400 or [::1]:7400")
    })
}

fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is not a log format. Write text or json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_they_can_be_written() {
        for (millis, text) in [
            (0, "0s"),
            (1_500, "1s 500ms"),
            (86_400_000, "1day"),
            (90_000_000, "1day 1h"),
            (90 * 86_400_000, "90days"),
            (366 * 86_400_000 + 1, "366days 1ms"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(show_duration(duration), text);
            assert_eq!(humantime::parse_duration(text), Ok(duration));
        }
        assert!(!show_duration(Duration::MAX).is_empty());
    }
}
