//! One way of drawing a table for every list. Cells are text that has been cleaned already.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::Look;

/// The least that the last column keeps, however narrow the terminal.
const LAST_COLUMN: u16 = 24;

/// A table with a header and no lines drawn. Only its last column wraps, so that ids stay whole and can be copied; where
/// there is no terminal nothing does: one row a line, for `grep`.
#[must_use]
pub fn table(look: Look, header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    if let Some(width) = look.width {
        let mut widths = table.column_max_content_widths();
        widths.pop();
        // Each column has a blank on both sides.
        let fixed = widths.iter().fold(2_u16, |sum, width| sum.saturating_add(*width).saturating_add(2));
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_constraints(widths.iter().map(|_| ColumnConstraint::ContentWidth));
        table.set_width(width.max(fixed.saturating_add(LAST_COLUMN)));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(width: Option<u16>) -> Vec<String> {
        let rows = vec![vec![
            "0123456789-0123456789-0123456789".to_owned(),
            "some longer words that wrap".to_owned(),
        ]];
        table(Look { color: false, width }, &["id", "said"], rows).lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_the_last_column_wraps_and_only_on_a_terminal() {
        assert_eq!(
            lines(None),
            [
                " id                                said",
                " 0123456789-0123456789-0123456789  some longer words that wrap",
            ]
        );
        for width in [1, 62] {
            let lines = lines(Some(width));
            assert_eq!(lines.len(), 3, "{lines:?}");
            assert!(lines[1].starts_with(" 0123456789-0123456789-0123456789  some longer"), "{lines:?}");
        }
        assert_eq!(lines(Some(200)).len(), 2);
    }
}
