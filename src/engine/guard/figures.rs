//! Figures in texts, in one normal form: what a message brings is often a number. Never here: arithmetic.

/// More figures than this are a table, in which any number may stand by chance.
const FEW: usize = 6;

/// A stated value in normal form: lower case, without markup, currency, thousands separators or trailing zeros.
pub(super) fn normal_value(value: &str) -> String {
    let value = fractions(value.trim());
    let mut normal = String::with_capacity(value.len());
    let mut chars = value.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                // A TeX command; what it wraps is what counts.
                while chars.next_if(char::is_ascii_alphabetic).is_some() {}
            }
            ',' if normal.ends_with(|c: char| c.is_ascii_digit()) => {
                if !chars.peek().is_some_and(char::is_ascii_digit) {
                    normal.push(',');
                }
            }
            '$' | '{' | '}' | '*' | '`' | '"' | '\'' | '(' | ')' | '!' | '%' | '€' | '£' => {}
            c if c.is_whitespace() => {}
            c => normal.extend(c.to_lowercase()),
        }
    }
    let end = normal.trim_end_matches(['.', ',', ';']).len();
    normal.truncate(end);
    trim_zeros(&mut normal);
    normal
}

/// `\frac{a}{b}` as a/b.
fn fractions(value: &str) -> String {
    if !value.contains("frac{") {
        return value.to_owned();
    }
    value.replace("\\dfrac{", "{").replace("\\frac{", "{").replace("}{", "/")
}

/// Takes the zeros off the end of a decimal fraction that ends the text.
fn trim_zeros(text: &mut String) {
    let digits = text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let before = &text[..text.len() - digits];
    let is_decimal = digits > 0
        && before.strip_suffix('.').is_some_and(|whole| whole.ends_with(|c: char| c.is_ascii_digit()));
    if is_decimal {
        let end = text.trim_end_matches('0').trim_end_matches('.').len();
        text.truncate(end);
    }
}

/// Gives each figure of a text, in normal form: digits with an optional fraction part and an optional divisor.
pub(super) fn for_each(text: &str, mut give: impl FnMut(&str)) {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut figure = String::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        figure.clear();
        let negative = at > 0
            && bytes[at - 1] == b'-'
            && at.checked_sub(2).is_none_or(|before| !bytes[before].is_ascii_alphanumeric());
        if negative {
            figure.push('-');
        }
        let mut has_point = false;
        while at < bytes.len() {
            match bytes[at] {
                b if b.is_ascii_digit() => figure.push(char::from(b)),
                b',' if !has_point && digit(at + 1) => {}
                b'.' if !has_point && digit(at + 1) => {
                    has_point = true;
                    figure.push('.');
                }
                b'/' if digit(at + 1) && !figure.contains('/') => {
                    trim_zeros(&mut figure);
                    has_point = false;
                    figure.push('/');
                }
                _ => break,
            }
            at += 1;
        }
        trim_zeros(&mut figure);
        give(&figure);
    }
}

/// Whether a figure stands in a text among few others.
pub(super) fn are_few_with(text: &str, figure: &str) -> bool {
    let (mut seen, mut found) = (0, false);
    for_each(text, |other| {
        seen += 1;
        found |= other == figure;
    });
    found && seen <= FEW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for_each(text, |figure| found.push(figure.to_owned()));
        found
    }

    #[test]
    fn figures_are_read_in_normal_form() {
        assert_eq!(all("$1,200.50 and 7.0, -3 or 1/20; v2.10.3"), ["1200.5", "7", "-3", "1/20", "2.1", "3"]);
        assert_eq!(all("none, really"), Vec::<String>::new());
        assert_eq!(all("x-3 2020-01-02"), ["3", "2020", "1".replace('1', "01").as_str(), "02"]);
    }

    #[test]
    fn values_lose_their_dress() {
        let check = |value: &str, expected: &str| assert_eq!(normal_value(value), expected, "{value}");
        check("$1,200.00", "1200");
        check("\\dfrac{3}{4}", "3/4");
        check("15x - 60", "15x-60");
        check("\\text{Joey wins}", "joeywins");
        check("100", "100");
        check("0.050", "0.05");
        check("...", "");
    }
}
