//! `holdfast keystore`: the sealed file that holds keys and credentials.

mod report;

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use holdfast_keystore::{KeystoreFile, Seal, SystemRandom};

use super::new_file::{self, Mode};
use super::{CommandError, Output};
use crate::commands::ConfigFile;
use crate::config::{Config, HsmSeal, SEAL_KEY, SealSource};

/// `holdfast keystore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast keystore verify
  holdfast keystore backup keystore-2026-03-01.holdfast
  holdfast keystore reseal --key-file /etc/holdfast/new.seal
  holdfast keystore reseal --hsm hsm-1 --hsm-key holdfast-seal")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what the file says of itself; needs no seal.
    Info {
        /// Another file than the configuration's, such as a backup
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Open the file with its seal, read all of it and count what it holds.
    Verify {
        /// Another file than the configuration's, such as a backup
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy the file, sealed as it is, to a new file.
    Backup {
        /// The file to make; nothing is overwritten
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a backup back, as the newest generation. Keys destroyed since then come back.
    Restore {
        /// The backup
        #[arg(value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        seal: BackupSeal,
    },
    /// Seal the file with another key file, passphrase, systemd credential or HSM's key. Backups keep their seal.
    Reseal {
        #[command(flatten)]
        seal: NewSeal,
    },
}

/// What a keystore is sealed with next.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("seal").required(true))]
struct NewSeal {
    /// The new seal's key file; it is made if it isn't there
    #[arg(long, value_name = "FILE", group = "seal")]
    key_file: Option<PathBuf>,
    /// A file whose first line is the new passphrase
    #[arg(long, value_name = "FILE", group = "seal")]
    passphrase_file: Option<PathBuf>,
    /// The environment variable that holds the new passphrase
    #[arg(long, value_name = "VARIABLE", group = "seal")]
    passphrase_env: Option<String>,
    /// The systemd credential that holds the new key
    #[arg(long, value_name = "NAME", group = "seal")]
    systemd_credential: Option<String>,
    /// The HSM, by its name in the configuration, whose key seals
    #[arg(long, value_name = "NAME", group = "seal")]
    hsm: Option<String>,
    /// The label of the HSM's key
    #[arg(long, value_name = "LABEL", requires = "hsm", default_value = SEAL_KEY)]
    hsm_key: String,
}

/// What a backup was sealed with, where that isn't the configuration's seal.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("backup-seal"))]
struct BackupSeal {
    /// The backup's key file [default: the configuration's seal]
    #[arg(long, value_name = "FILE", group = "backup-seal")]
    key_file: Option<PathBuf>,
    /// A file whose first line is the backup's passphrase
    #[arg(long, value_name = "FILE", group = "backup-seal")]
    passphrase_file: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: Arguments, output: &mut Output) -> Result<(), CommandError> {
    let config = Config::load(&arguments.config.path())?;
    let file = KeystoreFile::at(&config.keystore.path);
    let seal = || config.keystore.seal.read();
    let shown = config.keystore.path.display();
    match arguments.action {
        Action::Info { file: other, json } => {
            let file = other.map_or(file, KeystoreFile::at);
            report::info(&file, &file.info()?, json, output)
        }
        Action::Verify { file: other, json } => {
            let file = other.map_or(file, KeystoreFile::at);
            report::verified(&file, &file.open(&seal()?)?, json, output)
        }
        Action::Backup { to } => {
            let info = file.backup(&to)?;
            Ok(output.line(format_args!(
                "Copied generation {} of {shown} to {}; it opens with today's seal.",
                info.generation,
                to.display()
            ))?)
        }
        Action::Restore { from, seal: backup } => {
            let seal = seal()?;
            let backup_seal = backup.source().map(|source| source.read()).transpose()?;
            let restored = file.restore(&from, backup_seal.as_ref().unwrap_or(&seal), &seal)?;
            output.line(format_args!(
                "Put {} back as generation {} of {shown}.",
                from.display(),
                restored.info.generation
            ))?;
            if let Some(replaced) = restored.replaced {
                let replaced = replaced.display();
                output
                    .line(format_args!("What was there is kept as {replaced}; it still holds its keys."))?;
            }
            Ok(())
        }
        Action::Reseal { seal: new } => {
            let old = seal()?;
            let (new, line) = new.read(&config)?;
            let info = file.reseal(&old, &new)?;
            output.line(format_args!("Sealed {shown} anew, generation {}.", info.generation))?;
            output.line(format_args!(
                "Now write in {}, under [keystore]:\n  seal = {line}\n\
                 and restart the host; or put the new seal in the old one's place, where a running host finds it.",
                config.file.display()
            ))?;
            Ok(output.line(
                "Backups made before still open with the old seal: keep it for them, or remove both.",
            )?)
        }
    }
}

impl BackupSeal {
    fn source(self) -> Option<SealSource> {
        let key_file = self.key_file.map(SealSource::KeyFile);
        key_file.or(self.passphrase_file.map(SealSource::PassphraseFile))
    }
}

impl NewSeal {
    /// The seal, and how it is written in a configuration.
    fn read(self, config: &Config) -> Result<(Seal, String), CommandError> {
        if let Some(name) = self.hsm {
            let hsm = super::hsm::choose(config, Some(&name))?.clone();
            let quoted = |text: &str| toml::Value::String(text.to_owned());
            let line = format!("{{ hsm = {}, hsm_key = {} }}", quoted(&name), quoted(&self.hsm_key));
            let seal = HsmSeal { hsm, key: self.hsm_key, pin_folder: config.keystore.pin_folder() };
            return Ok((SealSource::Hsm(Box::new(seal)).read()?, line));
        }
        let (field, value, source) = match (self.key_file, self.passphrase_file, self.passphrase_env) {
            (Some(file), _, _) => {
                make_if_missing(&file)?;
                ("key_file", absolute(&file), SealSource::KeyFile(file))
            }
            (_, Some(file), _) => ("passphrase_file", absolute(&file), SealSource::PassphraseFile(file)),
            (_, _, Some(variable)) => {
                ("passphrase_env", variable.clone(), SealSource::PassphraseEnv(variable))
            }
            _ => {
                let name = self.systemd_credential.unwrap_or_default();
                ("systemd_credential", name.clone(), SealSource::SystemdCredential(name))
            }
        };
        let value = toml::Value::String(value);
        Ok((source.read()?, format!("{{ {field} = {value} }}")))
    }
}

fn make_if_missing(file: &Path) -> Result<(), CommandError> {
    if !file.exists() {
        let content = Seal::new_key_file(&mut SystemRandom)?;
        new_file::write(file, content.expose(), Mode::Secret)?;
    }
    Ok(())
}

/// Right wherever the configuration is.
fn absolute(file: &Path) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}
