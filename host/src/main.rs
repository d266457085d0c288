//! `holdfast`: one binary with the server and the commands that prepare and look after it.

use std::process::ExitCode;

use clap::Parser;
use holdfast::cli::Cli;
use holdfast::commands;

fn main() -> ExitCode {
    commands::run(Cli::parse())
}
