//! `cargo xtask`: everything that one does with this checkout.

mod bench;
mod build;
mod cargo;
mod colour;
mod demo;
mod error;
mod lanes;
mod process;
mod report;
mod server;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Result;
use workspace::{Profile, Workspace};

/// Set up, build, demonstrate, test and measure Holdfast.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or get what is missing on this machine.
    Setup {
        /// What for.
        #[arg(long = "for", value_enum, default_value = "build")]
        purpose: setup::Purpose,
    },
    /// Build the components and the program `holdfast`.
    Build {
        /// As it is deployed and measured.
        #[arg(long)]
        release: bool,
    },
    /// Make a scratch key store, serve it, call it, and show all of that.
    Demo,
    /// Everything that has to hold: format, lints and all tests.
    Test {
        /// Only tests whose names contain this, without format and lints.
        filter: Option<String>,
    },
    /// Measure the figures of docs/performance.md and put them there.
    Bench {
        /// One group of figures.
        #[arg(long, value_name = "NAME", value_enum)]
        only: Option<bench::Group>,
        /// Short runs; docs/performance.md stays as it is.
        #[arg(long)]
        quick: bool,
        /// Seconds of one run [default: 10]
        #[arg(long, value_name = "N", conflicts_with = "quick", value_parser = clap::value_parser!(u32).range(1..=600))]
        seconds: Option<u32>,
        /// Calls over which nothing may grow [default: 5000000]
        #[arg(long, value_name = "N", conflicts_with = "quick")]
        calls: Option<u64>,
        /// Print the figures as JSON too.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error}", report::bad("error:"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::find()?;
    match task {
        Task::Setup { purpose } => setup::task(&workspace, purpose),
        Task::Build { release: true } => build::task(&workspace, Profile::Release),
        Task::Build { release: false } => build::task(&workspace, Profile::Dev),
        Task::Demo => demo::task(&workspace),
        Task::Test { filter } => test::task(&workspace, filter.as_deref()),
        Task::Bench { only, quick, seconds, calls, json } => {
            let length = if quick { bench::Length::QUICK } else { bench::Length::full(seconds, calls) };
            bench::task(&workspace, &bench::Wish { only, quick, length, json })
        }
    }
}
