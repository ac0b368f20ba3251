//! How results are printed: for people, or for programs.

use std::io::Write;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Something that a command found, for people.
pub(crate) trait Table {
    /// As text, with a newline at its end.
    fn table(&self) -> String;
}

impl Output {
    /// Prints `result` to standard output.
    pub(crate) fn print(self, result: &(impl Serialize + Table)) -> Result<()> {
        let text = match self {
            Self::Table => result.table(),
            Self::Json => serde_json::to_string_pretty(result)? + "\n",
            Self::Yaml => serde_saphyr::to_string(result)?,
        };
        print(&text)
    }
}

/// Prints `text` to standard output. Where nobody reads it any more, that is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to print"),
    }
}

/// Tells people something beside the result, on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

/// Rows whose cells stand one under the other, as `kubectl get` prints them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// With these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut columns = Self { rows: Vec::new() };
        columns.row(headings);
        columns
    }

    /// One row more.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.rows.push(cells.into_iter().map(|cell| plain(cell.as_ref())).collect());
    }

    /// Three blanks apart, and none at the end of a line.
    pub(crate) fn text(&self) -> String {
        self.indented(0)
    }

    /// The same, with so many blanks before each line.
    pub(crate) fn indented(&self, blanks: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let wide =
            |at: usize| self.rows.iter().filter_map(|row| Some(row.get(at)?.chars().count())).max();
        let widths: Vec<_> = (0..columns).filter_map(wide).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}   "));
            format!("{:blanks$}{}\n", "", cells.collect::<String>().trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

/// `text` for a terminal: what would do something there, or turn the direction of writing, is written as an escape.
pub(crate) fn plain(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let show = |c: char| {
        if c.is_control() || turns(c) { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(show).collect()
}

/// `1 blob`, `2 blobs`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// `512 B`, `12.3 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut columns = Columns::new(["NAME", "STATE"]);
        columns.row(["a-long-name", ""]);
        columns.row(["b", "fine"]);
        assert_eq!(columns.text(), "NAME          STATE\na-long-name\nb             fine\n");
        let mut columns = Columns::default();
        columns.row(["één"]);
        columns.row(["1", "three\u{1b}[2J\u{9b}\n"]);
        assert_eq!(columns.indented(2), "  één\n  1     three\\u{1b}[2J\\u{9b}\\n\n");
    }

    #[test]
    fn directions_of_writing_cannot_be_turned() {
        assert_eq!(plain("a\u{202e}b é"), "a\\u{202e}b é");
    }

    #[test]
    fn numbers_are_words() {
        assert_eq!([count(1, "blob"), count(0, "blob")], ["1 blob", "0 blobs"]);
        assert_eq!([bytes(512), bytes(12_900_000)], ["512 B", "12.30 MiB"]);
    }
}
