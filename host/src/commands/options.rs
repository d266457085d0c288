//! What several commands take.

use std::path::PathBuf;

use clap::Args;

/// What `init` calls it.
const FILE: &str = "holdfast.toml";

/// The configuration that a command works on.
#[derive(Args, Clone, Debug)]
pub struct ConfigFile {
    /// The configuration, or the folder that `init` made [default: $HOLDFAST_CONFIG, else holdfast.toml]
    #[arg(long = "config", value_name = "FILE", global = true)]
    path: Option<PathBuf>,
}

impl ConfigFile {
    /// What was given, else `$HOLDFAST_CONFIG`, else `holdfast.toml` in the current folder.
    pub fn path(&self) -> PathBuf {
        let from_environment = || std::env::var_os("HOLDFAST_CONFIG").map(PathBuf::from);
        let path = self.path.clone().or_else(from_environment).unwrap_or_else(|| FILE.into());
        if path.is_dir() { path.join(FILE) } else { path }
    }
}

/// The key store that a command works on.
#[derive(Args, Clone, Debug)]
pub struct KeyStoreChoice {
    /// Where it stands.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The key store's name in the configuration [default: the only one]
    #[arg(long = "key-store", value_name = "NAME", global = true)]
    pub name: Option<String>,
}
