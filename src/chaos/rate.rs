//! How often something is made to fail: as a share of messages, or as times a minute. Parsed once, at the command line.

use std::{fmt, str::FromStr};

/// A share of messages: 0 to 1. Written `0.02` or `2%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Share(f64);

impl Share {
    /// The share, 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, of) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
        let share = number.trim().parse::<f64>().map(|number| number / of).ok();
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no share: write 0 to 1, or 0% to 100%"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1e6).round() / 1e4)
    }
}

/// Times a minute, 0 to 600. Written `6/m`, `1/s`, `30/h`, or `0` for never.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Often(f64);

/// The most there may be: faster than a process can start makes no sense.
const MOST_PER_MINUTE: f64 = 600.0;

impl Often {
    /// Times a minute.
    pub const fn per_minute(self) -> f64 {
        self.0
    }

    /// The mean wait between two; `None`: never.
    pub fn every(self) -> Option<std::time::Duration> {
        (self.0 > 0.0).then(|| std::time::Duration::from_secs_f64(60.0 / self.0))
    }
}

impl FromStr for Often {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("{text:?} is no rate: write times like 6/m, 1/s or 30/h, at most 10/s, or 0");
        let (number, minutes) = match text.split_once('/') {
            Some((number, "s")) => (number, 60.0),
            Some((number, "m" | "min")) => (number, 1.0),
            Some((number, "h")) => (number, 1.0 / 60.0),
            Some(_) => return Err(wrong()),
            None => (text, 0.0),
        };
        let number = number.trim().parse::<f64>().map_err(|_| wrong())?;
        // A bare number says nothing of time, unless it is none.
        if !number.is_finite() || number < 0.0 || (minutes == 0.0 && number != 0.0) {
            return Err(wrong());
        }
        let often = number * minutes;
        if often > MOST_PER_MINUTE { Err(wrong()) } else { Ok(Self(often)) }
    }
}

impl fmt::Display for Often {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0.0 => f.write_str("0"),
            often => write!(f, "{}/m", (often * 1e3).round() / 1e3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_either_way_and_bounded() {
        let read = |text: &str| text.parse::<Share>().map(Share::get).ok();
        assert_eq!([read("0.02"), read("2%"), read(" 100 % ")], [Some(0.02), Some(0.02), Some(1.0)]);
        assert_eq!([read("1.1"), read("-1%"), read("x"), read("NaN"), read("")], [None; 5]);
        assert_eq!("2%".parse::<Share>().expect("a share").to_string(), "2%");
    }

    #[test]
    fn rates_name_their_time() {
        let read = |text: &str| text.parse::<Often>().map(Often::per_minute).ok();
        assert_eq!(
            [read("6/m"), read("1/s"), read("30/h"), read("0")],
            [Some(6.0), Some(60.0), Some(0.5), Some(0.0)]
        );
        assert_eq!(
            [read("6"), read("1/d"), read("-1/m"), read("11/s"), read("inf/m"), read("/m")],
            [None; 6]
        );
        assert_eq!("0".parse::<Often>().expect("a rate").every(), None);
        assert_eq!("12/m".parse::<Often>().expect("a rate").every(), Some(std::time::Duration::from_secs(5)));
    }
}
