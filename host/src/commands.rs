//! The commands, one module each: `Arguments` and `run`.

pub mod bench;
pub mod call;
pub mod check_config;
pub mod component;
pub mod credential;
mod error;
mod harden;
pub mod hsm;
pub mod init;
pub mod key;
pub mod keystore;
pub mod kms_config;
mod kms_json;
mod new_file;
mod opened;
mod options;
mod output;
pub mod policy;
pub mod serve;
pub mod spin_env;
mod when;

use std::error::Error;
use std::process::ExitCode;

pub use error::{Changed, CommandError, Usage};
pub use options::{ConfigFile, KeyStoreChoice};
pub use output::{Output, OutputError};

use crate::admin::ClientError;
use crate::cli::{Cli, Command};
use holdfast_policy::life::run_checker;

/// Runs one command, tells why it failed and gives the exit code.
pub fn run(cli: Cli) -> ExitCode {
    let mut output = Output::stdout();
    let hardened = match &cli.command {
        // They harden themselves: the one tells in its log, the others see what they need to first.
        Command::Serve(_) | Command::PolicyChecker { .. } | Command::HsmWorker => Ok(()),
        _ => harden::process().map_err(CommandError::from),
    };
    let result = hardened.and_then(|()| dispatch(cli.command, &mut output));
    // A command that fails has a report to show, too.
    let flushed = output.flush();
    match result.and(flushed.map_err(CommandError::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.downcast_ref::<OutputError>().is_some_and(OutputError::is_closed_pipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::complain(error.as_ref());
            exit_code(error.as_ref())
        }
    }
}

fn exit_code(error: &(dyn Error + Send + Sync + 'static)) -> ExitCode {
    match error {
        error if error.is::<Usage>() => ExitCode::from(2),
        error if error.is::<call::Unreachable>() => ExitCode::from(3),
        error if error.is::<Changed>() => ExitCode::from(4),
        error if error.downcast_ref::<ClientError>().is_some_and(ClientError::is_unreachable) => {
            ExitCode::from(3)
        }
        _ => ExitCode::FAILURE,
    }
}

fn dispatch(command: Command, output: &mut Output) -> Result<(), CommandError> {
    match command {
        Command::Init(arguments) => init::run(arguments, output),
        Command::Serve(arguments) => serve::run(&arguments, output),
        Command::CheckConfig(arguments) => check_config::run(arguments, output),
        Command::Call(arguments) => call::run(arguments, output),
        Command::Key(arguments) => key::run(arguments, output),
        Command::Credential(arguments) => credential::run(arguments, output),
        Command::Keystore(arguments) => keystore::run(arguments, output),
        Command::KmsConfig(arguments) => kms_config::run(arguments, output),
        Command::Component(arguments) => component::run(arguments, output),
        Command::Policy(arguments) => policy::run(arguments, output),
        Command::SpinEnv(arguments) => spin_env::run(&arguments, output),
        Command::Bench(arguments) => bench::run(arguments, output),
        Command::Hsm(arguments) => hsm::run(arguments, output),
        Command::PolicyChecker { cache } => Ok(run_checker(&cache)?),
        Command::HsmWorker => Ok(holdfast_pkcs11::worker::run()?),
    }
}
