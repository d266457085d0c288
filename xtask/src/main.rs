//! `cargo xtask`: everything that one does with this checkout.

mod build;
mod error;
mod process;
mod report;
mod setup;
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
        Task::Build { release } => {
            build::task(&workspace, if release { Profile::Release } else { Profile::Dev })
        }
    }
}
