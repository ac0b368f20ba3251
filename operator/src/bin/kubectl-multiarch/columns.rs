//! Text in columns, as kubectl prints it, and text that a registry or a cluster has said.

use std::fmt::Write;

/// Rows whose cells stand one under the other.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// With a first row of headings.
    pub(crate) fn headed<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// One more row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// All rows, a line each, `indent` blanks before each.
    pub(crate) fn text(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:width$}   ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `text` for a terminal: what is no plain character is written as an escape.
pub(crate) fn plain(text: &str) -> String {
    let show = |c: char| {
        let odd = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if odd { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(show).collect()
}

/// `bytes` for the eye: `30.1 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_one_under_the_other() {
        let mut columns = Columns::headed(["A", "LONGER", "C"]);
        columns.row(["één", "x", ""].map(String::from));
        columns.row(["1", "2", "three\u{1b}[2J\u{9b}\n"].map(String::from));
        let text = "  A     LONGER   C\n  één   x\n  1     2        three\\u{1b}[2J\\u{9b}\\n\n";
        assert_eq!(columns.text(2), text);
    }

    #[test]
    fn directions_of_writing_cannot_be_turned() {
        assert_eq!(plain("a\u{202e}b é"), "a\\u{202e}b é");
    }

    #[test]
    fn sizes() {
        assert_eq!((size(7), size(31_561_728)), ("7 B".into(), "30.10 MiB".into()));
    }
}
