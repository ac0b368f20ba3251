//! `kubectl multiarch schema`: what the results of each command are as JSON, for docs/cli-output.schema.json.

use anyhow::Result;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    cluster::{status, suspend, tree, wait},
    exit::Exit,
    inspect,
    output::print,
    run::results::Results,
};

/// The results of a command.
type Of = fn(&mut SchemaGenerator) -> Value;

/// Each command that prints results, and what they are.
const ALL: [(&str, Of); 11] = [
    ("inspect", of::<inspect::Report>),
    ("load", of::<Results>),
    ("mirror", of::<Results>),
    ("plan", of::<Results>),
    ("publish", of::<Results>),
    ("reconcile", of::<status::Report>),
    ("resume", of::<suspend::Report>),
    ("status", of::<status::Report>),
    ("suspend", of::<suspend::Report>),
    ("tree", of::<tree::Report>),
    ("wait", of::<wait::Report>),
];

/// Prints the schema: one property for each command.
pub(crate) fn run() -> Result<Exit> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let of: Map<String, Value> =
        ALL.iter().map(|(command, of)| ((*command).into(), of(&mut generator))).collect();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What `kubectl multiarch COMMAND -o json` prints, by the command",
        "type": "object",
        "properties": of,
        "$defs": generator.take_definitions(true),
    });
    print(&(serde_json::to_string_pretty(&schema)? + "\n"))?;
    Ok(Exit::Fine)
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}
