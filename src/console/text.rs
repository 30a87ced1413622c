//! Small pieces of text: cleaned, clipped, counted, timed. No state, no clock.

use prost_types::{Duration as WireDuration, Timestamp};

use crate::pb;

/// `text` on one line, without control characters, so that what an agent wrote cannot steer a terminal.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() || is_invisible(c) {
            gap = true;
        } else {
            if gap && !out.is_empty() {
                out.push(' ');
            }
            gap = false;
            out.push(c);
        }
    }
    out
}

/// Characters that reorder or hide their neighbours.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Like [`clean`], with at most `most` characters; what is cut is marked.
#[must_use]
pub fn clip(text: &str, most: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= most {
        return text;
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// 1234567 as "1,234,567".
#[must_use]
pub fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::new();
    if value < 0 {
        out.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "1 turn", "2 turns".
#[must_use]
pub fn plural(count: i64, one: &str) -> String {
    format!("{} {one}{}", number(count), if count == 1 { "" } else { "s" })
}

/// Milliseconds as a person says them: "340ms", "12.3s", "4m 10s", "3h 5m", "2d 4h".
#[must_use]
pub fn span(millis: i64) -> String {
    let millis = millis.max(0);
    let seconds = millis / 1_000;
    match seconds {
        0 => format!("{millis}ms"),
        1..=59 => format!("{}.{}s", seconds, millis % 1_000 / 100),
        60..=3_599 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Milliseconds since 1970; None where the time is absent.
#[must_use]
pub fn millis(at: Option<&Timestamp>) -> Option<i64> {
    at.map(|at| at.seconds.saturating_mul(1_000).saturating_add(i64::from(at.nanos) / 1_000_000))
}

/// The time between two times, as [`span`] says it; empty where one of them is absent.
#[must_use]
pub fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> String {
    match (millis(from), millis(to)) {
        (Some(from), Some(to)) => span(to.saturating_sub(from)),
        _ => String::new(),
    }
}

/// "2026-11-20 12:57:19" in UTC; empty where absent.
#[must_use]
pub fn date(at: Option<&Timestamp>) -> String {
    rfc3339(at).map(|text| text.get(..19).unwrap_or_default().replace('T', " ")).unwrap_or_default()
}

/// "12:57:19.042" in UTC; empty where absent.
#[must_use]
pub fn clock(at: Option<&Timestamp>) -> String {
    let Some(text) = rfc3339(at) else { return String::new() };
    let millis = millis(at).unwrap_or(0).rem_euclid(1_000);
    format!("{}.{millis:03}", text.get(11..19).unwrap_or_default())
}

fn rfc3339(at: Option<&Timestamp>) -> Option<String> {
    at.map(ToString::to_string).filter(|text| text.is_ascii() && text.len() >= 19)
}

/// A duration of the wire as [`span`] says it; empty where absent.
#[must_use]
pub fn duration(value: Option<&WireDuration>) -> String {
    value
        .map(|d| span(d.seconds.saturating_mul(1_000).saturating_add(i64::from(d.nanos) / 1_000_000)))
        .unwrap_or_default()
}

/// A JSON value on one line, clipped.
#[must_use]
pub fn value(value: Option<&prost_types::Value>, most: usize) -> String {
    value.map(|value| clip(&json(value).to_string(), most)).unwrap_or_default()
}

/// A JSON value of the wire as serde knows it. Whole numbers are shown without a fraction.
#[must_use]
pub fn json(value: &prost_types::Value) -> serde_json::Value {
    use prost_types::value::Kind;
    use serde_json::Value;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(*flag),
        Some(Kind::NumberValue(number)) => whole(*number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(json).collect()),
        Some(Kind::StructValue(fields)) => {
            Value::Object(fields.fields.iter().map(|(name, value)| (name.clone(), json(value))).collect())
        }
    }
}

/// Every whole number up to here has a float of its own.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

fn whole(number: f64) -> serde_json::Value {
    if number.fract() == 0.0 && number.abs() <= LARGEST_WHOLE {
        // Exact: both conditions were just checked.
        #[allow(clippy::cast_possible_truncation)]
        return serde_json::Value::from(number as i64);
    }
    serde_json::Number::from_f64(number).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

/// "confidence 0.82"; empty where none was said.
#[must_use]
pub fn confidence(value: Option<f64>) -> String {
    value.map(|value| format!("confidence {value:.2}")).unwrap_or_default()
}

/// The tokens an attempt used, input and output together.
#[must_use]
pub fn tokens(usage: Option<&pb::Usage>) -> i64 {
    usage.map_or(0, |usage| usage.input_tokens.saturating_add(usage.output_tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_an_agent_writes_reaches_the_terminal_raw() {
        assert_eq!(clean("a\u{1b}[2Jb\n\tc\u{202e}d "), "a [2Jb c d");
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("äöü", 3), "äöü");
    }

    #[test]
    fn figures() {
        assert_eq!(
            [number(0), number(999), number(-1_000), number(1_234_567)],
            ["0", "999", "-1,000", "1,234,567"]
        );
        assert_eq!(number(i64::MIN), "-9,223,372,036,854,775,808");
        assert_eq!(
            [span(-5), span(340), span(12_345), span(250_000), span(11_100_000), span(187_200_000)],
            ["0ms", "340ms", "12.3s", "4m 10s", "3h 5m", "2d 4h"]
        );
    }

    #[test]
    fn times_are_utc() {
        let at = Timestamp { seconds: 1_795_179_439, nanos: 42_000_000 };
        assert_eq!(date(Some(&at)), "2026-11-20 12:57:19");
        assert_eq!(clock(Some(&at)), "12:57:19.042");
        assert_eq!(clock(None), "");
        assert!(date(Some(&Timestamp { seconds: i64::MAX, nanos: i32::MAX })).len() <= 19);
    }

    #[test]
    fn whole_numbers_stay_whole() {
        let value = |number| prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(number)) };
        assert_eq!(json(&value(3.0)).to_string(), "3");
        assert_eq!(json(&value(0.5)).to_string(), "0.5");
        assert_eq!(json(&value(f64::NAN)).to_string(), "null");
    }
}
