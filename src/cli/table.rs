//! Tables that people read. What they show came from elsewhere, so nothing in it may steer a terminal.

use comfy_table::{ContentArrangement, Table, presets};

/// A table of names and values.
pub(super) fn of_facts() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// A table of rows under these heads.
pub(super) fn with_heads<const N: usize>(heads: [&str; N]) -> Table {
    let mut table = of_facts();
    table.set_header(heads);
    table
}

/// The text without control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
