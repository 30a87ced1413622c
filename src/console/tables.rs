//! One way of drawing a table for every list. Cells are text that has been cleaned already.

use comfy_table::{ContentArrangement, Table, presets};

use super::Look;

/// A table with a header and no lines drawn; wrapped to the terminal's width, or, where there is no
/// terminal, as wide as it gets: one row a line, for `grep`.
#[must_use]
pub fn table(look: Look, header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.force_no_tty();
    if let Some(width) = look.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}
