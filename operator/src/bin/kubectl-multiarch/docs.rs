//! docs/cli.md has every command and flag, as `--help` tells them.

use std::{env, fmt::Write, fs, path::Path};

use clap::{Arg, Command, CommandFactory};

const HEAD: &str = "<!-- Made of the flags: make docs-cli -->\n";

#[test]
fn the_page_is_what_help_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once(HEAD).expect("the head of what is made");
    let whole = format!("{before}{HEAD}{}", page());
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &whole).unwrap();
    }
    let now = fs::read_to_string(&path).unwrap();
    assert!(now == whole, "docs/cli.md is not true any more: make docs-cli");
}

#[test]
fn every_command_has_examples_and_every_flag_its_words() {
    let mut all = crate::Args::command();
    all.build();
    for command in shown(&all) {
        let name = command.get_name();
        let takes =
            command.get_arguments().any(|arg| !arg.is_global_set() && arg.get_id() != "help");
        assert!(command.get_about().is_some(), "{name}");
        let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        let shows = command.get_after_help().is_some() || about.contains("Example");
        assert!(shows || !takes, "{name}");
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            assert!(arg.get_help().is_some(), "{name} {arg}");
        }
    }
}

/// All commands, then the flags that each of them takes.
fn page() -> String {
    let mut all = crate::Args::command();
    all.build();
    let mut page = String::new();
    for command in shown(&all) {
        let _ = write!(page, "\n{}", section(command));
    }
    page.push_str("\n## Flags of every command\n\n");
    let global = all.get_arguments().filter(|arg| arg.is_global_set() || arg.get_id() == "version");
    page.push_str(&table(global));
    page
}

fn shown(all: &Command) -> impl Iterator<Item = &Command> {
    let own = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    all.get_subcommands().filter(own)
}

fn section(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let mut text = format!("## {}\n\n{about}\n\n", command.get_name());
    let _ = write!(text, "```text\n{usage}\n```\n\n");
    let own = command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help");
    text.push_str(&table(own));
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let examples = examples.trim_start_matches("Examples:\n").trim();
        // What is not indented is prose.
        let (code, prose): (Vec<_>, Vec<_>) = examples.split("\n\n").partition(|part| {
            part.starts_with(' ') || part.starts_with("kubectl") || part.starts_with('#')
        });
        let code = code.join("\n\n");
        let code = code.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
        let code = code.collect::<Vec<_>>().join("\n");
        let _ = write!(text, "\n```console\n{code}\n```\n");
        for prose in prose {
            let _ = write!(text, "\n{prose}\n");
        }
    }
    text
}

fn table<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let mut rows = String::new();
    for arg in args.filter(|arg| !arg.is_hide_set()) {
        let help = arg.get_long_help().or(arg.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        // clap takes the full stop of one sentence away.
        let mut help = format!("{}.", help.trim_end_matches('.'));
        let values = arg.get_possible_values();
        let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
        if arg.get_action().takes_values() && !values.is_empty() {
            let each = |value: &&clap::builder::PossibleValue| match value.get_help() {
                Some(help) => format!("`{}` ({})", value.get_name(), lower(&help.to_string())),
                None => format!("`{}`", value.get_name()),
            };
            let all: Vec<_> = values.iter().map(each).collect();
            let _ = write!(help, " One of {}.", all.join(", "));
        }
        if let Some(variable) = arg.get_env() {
            let _ = write!(help, " Variable: `{}`.", variable.display());
        }
        let defaults = arg.get_default_values().iter();
        let defaults: Vec<_> = defaults.map(|value| format!("`{}`", value.display())).collect();
        let defaults =
            if arg.get_action().takes_values() { defaults.join(" ") } else { String::new() };
        let help = help.replace('|', "\\|").replace("\n\n", "<br>").replace('\n', " ");
        let _ = writeln!(rows, "| {} | {defaults} | {help} |", spelt(arg));
    }
    if rows.is_empty() {
        rows
    } else {
        format!("| flag | default | |\n| --- | --- | --- |\n{rows}")
    }
}

/// `-o`, `--output FORMAT`
fn spelt(arg: &Arg) -> String {
    let takes = arg.get_action().takes_values();
    let names = arg.get_value_names().filter(|_| takes).unwrap_or_default();
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let value = names.join(" ");
    let long = arg.get_long().map(|long| format!("`--{long} {value}`").replace(" `", "`"));
    let short = arg.get_short().map(|short| format!("`-{short}`"));
    let all: Vec<_> = short.into_iter().chain(long).collect();
    if all.is_empty() { format!("`{value}`") } else { all.join(", ") }
}

fn lower(text: &str) -> String {
    let mut rest = text.trim_end_matches('.').chars();
    rest.next().map_or_else(String::new, |first| first.to_lowercase().chain(rest).collect())
}
