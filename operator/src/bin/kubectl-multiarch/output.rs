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
        std::io::stdout().write_all(text.as_bytes()).context("failed to print")
    }
}
