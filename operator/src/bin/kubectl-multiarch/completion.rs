//! `kubectl multiarch completion`: a script for a shell.

use std::io::Write;

use anyhow::{Context, Result};
use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell as Known, generate};

use crate::exit::Exit;

/// Print a script that completes commands and flags in a shell.
///
/// bash, zsh, fish and powershell complete `kubectl-multiarch`, the program by its own name. `kubectl multiarch` is completed by kubectl
/// itself, which asks a program called kubectl_complete-multiarch on the PATH: print that by `completion kubectl`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell, or kubectl.
    #[arg(value_enum)]
    shell: Shell,
}

const EXAMPLES: &str = "Examples:
  # Here and now, in bash.
  source <(kubectl-multiarch completion bash)

  # For `kubectl multiarch`, where kubectl completes already.
  kubectl multiarch completion kubectl > ~/.local/bin/kubectl_complete-multiarch
  chmod +x ~/.local/bin/kubectl_complete-multiarch";

/// What completes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Kubectl,
}

/// What kubectl is to do with what it is given: complete no files (cobra's ShellCompDirectiveNoFileComp), or as it likes.
const NO_FILES: u8 = 4;
const DEFAULT: u8 = 0;

/// What kubectl runs (its plugins' convention).
const FOR_KUBECTL: &str = "#!/bin/sh
# Completes `kubectl multiarch`: an executable file called kubectl_complete-multiarch on the PATH.
exec kubectl-multiarch __complete \"$@\"
";

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let shell = match args.shell {
        Shell::Bash => Known::Bash,
        Shell::Zsh => Known::Zsh,
        Shell::Fish => Known::Fish,
        Shell::Powershell => Known::PowerShell,
        Shell::Kubectl => return printed(FOR_KUBECTL.as_bytes()),
    };
    let mut script = Vec::new();
    generate(shell, &mut crate::Args::command(), "kubectl-multiarch", &mut script);
    printed(&script)
}

/// Words of a command line that is not complete yet, the last of them perhaps empty.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Words {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Answers kubectl: a candidate a line, then what to do with them.
pub(crate) fn complete(words: &Words) -> Result<Exit> {
    let mut command = crate::Args::command();
    command.build();
    let (candidates, directive) = candidates(&command, &words.words);
    let text = candidates.into_iter().chain([format!(":{directive}\n")]);
    printed(text.collect::<Vec<_>>().join("\n").as_bytes())
}

/// What may stand in the place of the last of `words`.
fn candidates(command: &clap::Command, words: &[String]) -> (Vec<String>, u8) {
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, all)| (last, all));
    let mut command = command;
    for word in before {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let begins = |candidate: &String| candidate.starts_with(last);
    let shown = |arg: &&clap::Arg| !arg.is_hide_set();
    let flag = before.last().and_then(|word| {
        let is = |arg: &&clap::Arg| {
            let long = arg.get_long().is_some_and(|long| *word == format!("--{long}"));
            long || arg.get_short().is_some_and(|short| *word == format!("-{short}"))
        };
        command.get_arguments().find(is).filter(|arg| arg.get_action().takes_values())
    });
    if let Some(flag) = flag {
        let values = values(flag);
        let directive = if values.is_empty() { DEFAULT } else { NO_FILES };
        return (values.into_iter().filter(begins).collect(), directive);
    }
    if last.starts_with('-') {
        let flags = command.get_arguments().filter(shown).filter_map(clap::Arg::get_long);
        return (flags.map(|long| format!("--{long}")).filter(begins).collect(), NO_FILES);
    }
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut all: Vec<_> = commands.map(|command| command.get_name().to_owned()).collect();
    all.extend(command.get_positionals().filter(shown).flat_map(values));
    let directive = if all.is_empty() { DEFAULT } else { NO_FILES };
    (all.into_iter().filter(begins).collect(), directive)
}

fn values(arg: &clap::Arg) -> Vec<String> {
    arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
}

fn printed(text: &[u8]) -> Result<Exit> {
    std::io::stdout().write_all(text).context("failed to print")?;
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::commands(&["insp"], &["inspect"], NO_FILES)]
    #[case::flags(&["wait", "app", "--time"], &["--timeout"], NO_FILES)]
    #[case::global(&["status", "--outp"], &["--output"], NO_FILES)]
    #[case::values(&["status", "-o", ""], &["table", "json", "yaml"], NO_FILES)]
    #[case::shells(&["completion", "z"], &["zsh"], NO_FILES)]
    #[case::files(&["wait", "--kubeconfig", ""], &[], DEFAULT)]
    #[case::names(&["wait", ""], &[], DEFAULT)]
    fn kubectl_is_told(#[case] words: &[&str], #[case] expected: &[&str], #[case] directive: u8) {
        let mut command = crate::Args::command();
        command.build();
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        assert_eq!(
            candidates(&command, &words),
            (expected.iter().map(ToString::to_string).collect(), directive)
        );
    }

    #[test]
    fn every_command_is_a_candidate_and_what_is_hidden_is_none() {
        let mut command = crate::Args::command();
        command.build();
        let (all, _) = candidates(&command, &[String::new()]);
        assert!(all.contains(&"mirror".to_owned()) && !all.contains(&"__complete".to_owned()));
    }
}
