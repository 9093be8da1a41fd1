//! What people read: tables, fields and times.

use std::io::{self, IsTerminal};

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// Rows below their heads, each column as wide as it has to be; on a terminal, long cells are broken so that the rows fit.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heads).add_rows(rows);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Names beside their values, one a line.
pub fn fields(rows: &[(&str, String)]) -> String {
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or_default();
    rows.iter()
        .map(|(name, value)| format!("{name:width$}  {value}\n"))
        .collect()
}

/// A moment, to the second.
pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A value, or a dash where there is none.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["1".to_owned(), "ünïcode".to_owned()],
            ["100".to_owned(), "x".to_owned()],
        ];
        assert_eq!(table(["id", "what"], &rows), "id   what\n1    ünïcode\n100  x\n");
    }

    #[test]
    fn values_begin_in_one_column() {
        let rows = [("id", "1".to_owned()), ("status", "clean".to_owned())];
        assert_eq!(fields(&rows), "id      1\nstatus  clean\n");
    }
}
