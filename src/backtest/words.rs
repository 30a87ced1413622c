//! Figures as people read them, the same in every form of the report. Pure.

use super::report::{CalibratedSet, Figures, Fit, Report, Spread};
use crate::console::text::number;

/// What stands where there is no figure.
pub const NONE: &str = "-";

/// 0.1234 as "12.3 %".
#[must_use]
pub fn percent(share: Option<f64>) -> String {
    match share {
        None => NONE.to_owned(),
        Some(share) if share > 0.0 && share < 0.0995 => format!("{:.2} %", share * 100.0),
        Some(share) => format!("{:.1} %", share * 100.0),
    }
}

/// 0.01 as "1%": how shares are written on the command line.
#[must_use]
pub fn argument(share: f64) -> String {
    format!("{}%", (share * 1e6).round() / 1e4)
}

/// A count with separators.
#[must_use]
pub fn count(count: u64) -> String {
    number(i64::try_from(count).unwrap_or(i64::MAX))
}

/// "3 of 41 (7.32 %)".
#[must_use]
pub fn part(part: u64, whole: u64) -> String {
    if whole == 0 {
        return NONE.to_owned();
    }
    format!("{} of {} ({})", count(part), count(whole), percent(Some(ratio(part, whole).unwrap_or(0.0))))
}

/// `part / whole`; `None` of nothing.
#[must_use]
pub fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// "21 (17 to 26)": the median and the middle half.
#[must_use]
pub fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || NONE.to_owned(),
        |spread| format!("{} ({} to {})", spread.median, spread.lower_quartile, spread.upper_quartile),
    )
}

/// Harmful stops, as a count and as a share of the successes.
#[must_use]
pub fn harm(figures: &Figures) -> String {
    if figures.successes == 0 { NONE.to_owned() } else { part(figures.harmful, figures.successes) }
}

/// A share with the interval it lies in: "31.0 % [27.5, 34.6]".
#[must_use]
pub fn within(share: Option<f64>, interval: Option<[f64; 2]>) -> String {
    match (share, interval) {
        (Some(_), Some([low, high])) => {
            format!("{} [{:.1}, {:.1}]", percent(share), low * 100.0, high * 100.0)
        }
        (share, _) => percent(share),
    }
}

/// 12,345,678 tokens as "12.3 M".
#[must_use]
pub fn tokens(tokens: u64) -> String {
    let value = tokens as f64;
    match tokens {
        0..=9_999 => count(tokens),
        10_000..=999_999 => format!("{:.0} k", value / 1e3),
        _ => format!("{:.1} M", value / 1e6),
    }
}

/// A crew of a set: the set's name alone where there is only one.
#[must_use]
pub fn crew(set: &CalibratedSet, fit: &Fit) -> String {
    if set.groups.len() > 1 { format!("{}, {}", set.set, fit.name()) } else { set.set.clone() }
}

/// The rows of the table that tells runaways from the rest: set, what the runs did, their figures. Runs that succeeded in
/// good order are left out.
#[must_use]
pub fn runaways(report: &Report) -> Vec<(&str, String, &Figures)> {
    let mut rows = Vec::new();
    for set in &report.sets {
        for one in &set.outcomes {
            let (ran_away, in_order) = match one.outcome {
                "success" => ("succeeded, then ran on", None),
                "failure" => ("failed and ran away", Some("failed in good order")),
                _ => ("ran away, not graded", Some("ended in good order, not graded")),
            };
            let kinds = [(Some(ran_away), &one.runaway), (in_order, &one.orderly)];
            for (kind, figures) in kinds {
                if let Some(kind) = kind.filter(|_| figures.runs > 0) {
                    rows.push((set.set.as_str(), kind.to_owned(), figures));
                }
            }
        }
    }
    rows
}

/// The row of a set and outcome, as every form of the report has it.
pub fn set_row(set: &str, outcome: &str, figures: &Figures) -> Vec<String> {
    vec![
        set.to_owned(),
        outcome.to_owned(),
        count(figures.runs),
        count(figures.stopped),
        spread(figures.stop_step),
        tokens(figures.tokens),
        percent(figures.saved_of_all),
        percent(figures.saved_of_savable),
        harm(figures),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_the_digits_that_say_something() {
        let shares = [None, Some(0.0), Some(0.0079), Some(0.5), Some(1.0)].map(percent);
        assert_eq!(shares, ["-", "0.0 %", "0.79 %", "50.0 %", "100.0 %"]);
        assert_eq!([0, 9_999, 12_345, 12_345_678].map(tokens), ["0", "9,999", "12 k", "12.3 M"]);
        assert_eq!([0.01, 0.005, 0.07, 0.001_25].map(argument), ["1%", "0.5%", "7%", "0.125%"]);
        assert_eq!(within(Some(0.31), Some([0.275, 0.3456])), "31.0 % [27.5, 34.6]");
        assert_eq!([part(3, 41), part(0, 0)], ["3 of 41 (7.32 %)", "-"]);
        let middle = Spread { least: 1, lower_quartile: 17, median: 21, upper_quartile: 26, most: 40 };
        assert_eq!([spread(Some(middle)), spread(None)], ["21 (17 to 26)", "-"]);
    }
}
