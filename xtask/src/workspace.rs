//! Where things are.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result, file};

/// The checkout that this program was started in.
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo, of the toolchain that runs this program.
    pub cargo: PathBuf,
}

impl Workspace {
    /// Finds the checkout by the folder of this package, which Cargo names when it runs it.
    pub fn find() -> Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let root = package.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let missing = || Error::Missing {
            what: "the variable CARGO_MANIFEST_DIR".into(),
            advice: "Start this program as `cargo xtask`, anywhere in the checkout.".into(),
        };
        let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        Ok(Self { root: root.ok_or_else(missing)?, cargo })
    }

    /// Cargo's folder for all that runs natively.
    pub fn target(&self) -> PathBuf {
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => self.root.join(folder),
            None => self.root.join("target"),
        }
    }

    /// Cargo's folder for all that becomes components: other flags, perhaps another compiler.
    pub fn component_target(&self) -> PathBuf {
        self.root.join("target-components")
    }

    /// The finished components.
    pub fn components(&self) -> PathBuf {
        self.target().join("components")
    }

    /// A program as the last build left it.
    pub fn program(&self, name: &str, profile: Profile) -> PathBuf {
        self.target().join(profile.folder()).join(name)
    }

    /// The host's program as the last build left it.
    pub fn holdfast(&self, profile: Profile) -> PathBuf {
        self.target().join(profile.folder()).join("holdfast")
    }

    /// The tests' PKCS#11 module that fails on command, as `cargo build` of the tests left it.
    pub fn fault_module(&self) -> PathBuf {
        self.target().join(Profile::Dev.folder()).join("libholdfast_fault_module.so")
    }

    /// Cargo, in the checkout.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(&self.root);
        command
    }
}

/// How the native programs are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to compile, with checks; for tests and the demonstration.
    Dev,
    /// What is deployed and measured.
    Release,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// Writes a file only if its bytes change, and never leaves half a file. Returns whether it wrote.
pub fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if std::fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(file("can't create", folder))?;
    }
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&unfinished, bytes).map_err(file("can't write", &unfinished))?;
    std::fs::rename(&unfinished, path).map_err(file("can't write", path))?;
    Ok(true)
}
