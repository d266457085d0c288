//! `holdfast policy`: from an idea to a file, and from there into a running host. Only [`live`] needs one.

mod backtest;
mod bench;
mod diff;
mod inspect;
mod live;
mod new;
pub(super) mod opened;
mod pack;
mod run;
mod sign;
mod test;

use clap::Subcommand;

use super::{CommandError, Output};

/// `holdfast policy`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a folder with a policy that builds and passes its tests.
    New(new::Arguments),
    /// Put a policy's component, document and tests into one file.
    Pack(pack::Arguments),
    /// Ask a policy its test cases, and tell which rules none of them reached.
    Test(test::Arguments),
    /// Ask a policy one query.
    Run(run::Arguments),
    /// Measure what a decision takes.
    Bench(bench::Arguments),
    /// Show what a policy is, reads and asks of the host.
    Inspect(inspect::Arguments),
    /// Sign a policy as minisign does.
    Sign(sign::SignArguments),
    /// Check a policy's signature.
    Verify(sign::VerifyArguments),
    /// Show what differs between two policies.
    Diff(diff::Arguments),
    /// Replay the audit log on a policy, and show what it would change.
    Backtest(backtest::Arguments),
    #[command(flatten)]
    Live(live::Action),
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    match arguments.action {
        Action::New(arguments) => new::run(&arguments, output),
        Action::Pack(arguments) => pack::run(&arguments, output),
        Action::Test(arguments) => test::run(&arguments, output),
        Action::Run(arguments) => run::run(&arguments, output),
        Action::Bench(arguments) => bench::run(&arguments, output),
        Action::Inspect(arguments) => inspect::run(&arguments, output),
        Action::Sign(arguments) => sign::sign(&arguments, output),
        Action::Verify(arguments) => sign::verify(&arguments, output),
        Action::Diff(arguments) => diff::run(&arguments, output),
        Action::Backtest(arguments) => backtest::run(&arguments, output),
        Action::Live(action) => live::run(action, output),
    }
}
