//! What can be typed: each command's arguments stand beside its code in [`crate::commands`].

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{
    bench, call, check_config, component, credential, hsm, init, key, keystore, kms_config, policy, serve,
    spin_env,
};

/// An AWS KMS external key store (XKS) proxy whose request logic is sandboxed.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Exit codes: 0 done; 1 refused or failed, with the reason on the standard error; 2 wrong usage; 3 no
answer from the server (call, bench, policy); 4 something would change (policy diff, policy backtest).

Example, from nothing to a running key store:
  holdfast init demo
  holdfast serve --config demo/holdfast.toml")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One for each command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a folder with a working configuration, keystore, key and credential.
    Init(init::Arguments),
    /// Answer AWS KMS.
    Serve(serve::Arguments),
    /// Check a configuration and everything that it names.
    CheckConfig(check_config::Arguments),
    /// Send signed requests to any XKS proxy, as AWS KMS does.
    Call(call::Arguments),
    /// Create, list and change keys.
    Key(key::Arguments),
    /// Create, list and remove the credentials that AWS KMS signs with.
    Credential(credential::Arguments),
    /// Look after the sealed file that holds keys and credentials.
    Keystore(keystore::Arguments),
    /// Look into HSMs, and make keys in them.
    Hsm(hsm::Arguments),
    /// Print the JSON file that the KMS console takes for a credential.
    KmsConfig(kms_config::Arguments),
    /// Look into WebAssembly components.
    Component(component::Arguments),
    /// Write, test, sign and compare policies, and change those of a running host.
    Policy(policy::Arguments),
    /// Write what Spin needs to serve a folder's key stores.
    SpinEnv(spin_env::Arguments),
    /// Put load on a key store and measure.
    Bench(bench::Arguments),
    /// A process that has an HSM's module; `serve` starts it.
    #[command(hide = true)]
    HsmWorker,
    /// A process that checks a policy; `serve` starts it.
    #[command(hide = true)]
    PolicyChecker {
        /// The folder of compiled code.
        cache: PathBuf,
    },
}
