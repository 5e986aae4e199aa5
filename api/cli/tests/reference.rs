//! docs/reference/cli.md is what the program says of itself. Written anew by:
//! UPDATE_REFERENCE=1 cargo test -p tptctl --test reference

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{fmt::Write, path::Path};

use clap::{Command, CommandFactory};
use tptctl::arguments::Arguments;

const INTRODUCTION: &str = "# tptctl\n\nGenerated from `--help`; see `api/cli`. `kubectl threeport` is the same \
                            program. `GLOBAL` stands for the global options, which every command takes.\n";

fn reference() -> String {
    let mut command = Arguments::command().term_width(100);
    command.build();
    let mut text = INTRODUCTION.to_owned();
    section(&mut text, "tptctl", &command);
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        // The global options are shown once.
        let hidden: Vec<_> = sub
            .get_arguments()
            .filter(|it| it.is_global_set())
            .map(|it| it.get_id().clone())
            .collect();
        let shown = hidden
            .into_iter()
            .fold(sub.clone(), |sub, id| sub.mut_arg(id, |it| it.hide(true)));
        section(&mut text, &format!("tptctl {}", sub.get_name()), &shown);
    }
    text
}

fn section(text: &mut String, title: &str, command: &Command) {
    let help = command.clone().term_width(100).render_long_help().to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    let help = help.join("\n").replace("[OPTIONS]", "[OPTIONS] [GLOBAL]");
    writeln!(text, "\n## {title}\n\n```text\n{}\n```", help.trim_end()).unwrap();
}

#[test]
fn the_reference_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    let reference = reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, &reference).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == reference,
        "docs/reference/cli.md is out of date; see this test's first lines"
    );
}

#[test]
fn every_command_and_flag_is_described() {
    Arguments::command().debug_assert();
    let command = Arguments::command();
    for sub in command.get_subcommands() {
        assert!(sub.get_about().is_some(), "{} has no description", sub.get_name());
        for argument in sub.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} {} has no description",
                sub.get_name(),
                argument.get_id()
            );
        }
    }
}
