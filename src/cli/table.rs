//! Tables that people read. What they show came from elsewhere, so nothing in it may steer a terminal.

use std::io::{self, StdoutLock, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::de::DeserializeOwned;

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

/// Shows one thing, which came as JSON: so, or as a table of facts for people.
pub(super) fn show<T: DeserializeOwned>(json: &str, is_json: bool, facts: fn(&T) -> Table) -> anyhow::Result<()> {
    if is_json {
        writeln!(io::stdout(), "{json}")?;
    } else {
        writeln!(io::stdout(), "{}", facts(&serde_json::from_str(json)?))?;
    }
    Ok(())
}

/// A list that comes as JSON: shown so, each on a line of its own as it comes, or as one table for people at its end.
pub(super) struct Listing {
    table: Option<Table>,
    out: StdoutLock<'static>,
}

impl Listing {
    pub(super) fn begin<const N: usize>(heads: [&str; N], is_json: bool) -> Self {
        Self { table: (!is_json).then(|| with_heads(heads)), out: io::stdout().lock() }
    }

    /// Adds what came, and tells what it was. What stands in a row steers no terminal.
    pub(super) fn add<T: DeserializeOwned, const N: usize>(
        &mut self,
        json: &str,
        row: fn(&T) -> [String; N],
    ) -> anyhow::Result<T> {
        let listed: T = serde_json::from_str(json)?;
        match &mut self.table {
            None => writeln!(self.out, "{json}")?,
            Some(table) => drop(table.add_row(row(&listed).map(|text| plain(&text)))),
        }
        Ok(listed)
    }

    /// Shows the table, and below it how to see more.
    pub(super) fn end(mut self, hint: Option<String>) -> io::Result<()> {
        if let Some(table) = self.table {
            writeln!(self.out, "{table}")?;
            if let Some(hint) = hint {
                writeln!(self.out, "{}", plain(&hint))?;
            }
        }
        Ok(())
    }
}

/// The text without control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
