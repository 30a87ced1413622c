//! Figures and spans as people read them, for what `check` says. Never here: a message that a program reads.

use crate::types::time::Span;

/// 1234567 as "1,234,567".
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "1 hop", "12 hops".
pub(super) fn count(value: u32, one: &str) -> String {
    format!("{} {one}{}", number(value.into()), if value == 1 { "" } else { "s" })
}

/// The two largest parts of a span: "1 day 4 hours", "10 minutes", "1.5 seconds".
pub(super) fn span(span: Span) -> String {
    /// Name and seconds.
    const UNITS: [(&str, u64); 4] = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let seconds = span.0 / 1_000_000;
    if seconds < 60 && !span.0.is_multiple_of(1_000_000) {
        let text = span.to_string();
        return format!("{} seconds", text.trim_end_matches('s'));
    }
    let mut left = seconds;
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        let of_unit = left / length;
        left %= length;
        if of_unit > 0 {
            parts.push(format!("{} {unit}{}", number(of_unit), if of_unit == 1 { "" } else { "s" }));
        } else if !parts.is_empty() {
            // "1 day", not "1 day 5 seconds": what comes after a gap is not worth a reader's time.
            break;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "no time".to_owned() } else { parts.join(" ") }
}

/// "a", "a and b", "a, b and c".
pub(super) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    let Some(last) = items.pop() else { return String::new() };
    if items.is_empty() { last } else { format!("{} and {last}", items.join(", ")) }
}

/// A share of 0 to 1 in percent: 0.05 as "5 %".
pub(super) fn percent(share: f64) -> String {
    // Two digits behind the point, as far as they say something.
    let text = format!("{:.2}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "0" && share > 0.0 { "less than 0.01 %".to_owned() } else { format!("{text} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!([number(0), number(999), number(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([count(1, "hop"), count(1_200, "turn")], ["1 hop", "1,200 turns"]);
        assert_eq!(
            [percent(0.05), percent(1.0), percent(0.125), percent(0.000_01)],
            ["5 %", "100 %", "12.5 %", "less than 0.01 %"]
        );
        assert_eq!([list(["a"]), list(["a", "b", "c"])], ["a", "a, b and c"]);
    }

    #[test]
    fn a_span_is_told_by_its_largest_parts() {
        let check = |millis: u64, expected: &str| assert_eq!(span(Span::from_millis(millis)), expected);
        check(0, "no time");
        check(100, "0.1 seconds");
        check(42_500, "42.5 seconds");
        check(1_000, "1 second");
        check(90_000, "1 minute 30 seconds");
        check(600_000, "10 minutes");
        check(86_400_000, "1 day");
        check(86_405_000, "1 day");
        check(104_400_000, "1 day 5 hours");
        check(7 * 86_400_000, "7 days");
    }
}
