//! A compiler for wasm32-unknown-unknown, found or got.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::apt;
use crate::error::{Error, Result};
use crate::process;
use crate::report::note;
use crate::workspace::Workspace;

/// The target that all components are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// 20 MB, if the network is there at all.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// Forces one of the ways, to try it on a machine that has both: `rustup` or `debian`.
const CHOICE: &str = "HOLDFAST_WASM_TOOLCHAIN";

/// A way to compile for [`TARGET`].
pub enum Toolchain {
    /// The Rust toolchain that also compiles the host has the target.
    Rustup,
    /// Debian's compiler, which also compiles the standard library from its sources.
    Debian {
        /// The linker of the toolchain that compiles the host; otherwise rustc looks for its own.
        linker: Option<PathBuf>,
    },
}

impl Toolchain {
    /// Cargo with what this way needs, without a subcommand.
    pub fn cargo(&self, workspace: &Workspace) -> Command {
        match self {
            Self::Rustup => workspace.cargo(),
            Self::Debian { linker } => {
                let mut command = Command::new(DEBIAN_CARGO);
                command.current_dir(&workspace.root);
                // `cargo run` sets the other toolchain's, which this one must not load.
                command.env_remove("LD_LIBRARY_PATH").env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                if let Some(linker) = linker {
                    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                }
                command
            }
        }
    }

    /// Arguments that go behind cargo's subcommand.
    pub fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Rustup => &[],
            Self::Debian { .. } => &["-Zbuild-std=std,panic_abort"],
        }
    }

    /// Which one it is, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rustup => "this Rust toolchain",
            Self::Debian { .. } => "Debian's rustc-web with its standard library's sources",
        }
    }
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// A way that needs nothing installed.
pub fn installed(workspace: &Workspace) -> Option<Toolchain> {
    let choice = std::env::var(CHOICE).unwrap_or_default();
    let rustup = || (choice != "debian" && has_target()).then_some(Toolchain::Rustup);
    let debian = || (choice != "rustup").then(|| debian(workspace)).flatten();
    rustup().or_else(debian)
}

/// The first way that works, of: installed, `rustup target add`, Debian's packages.
pub fn find_or_get(workspace: &Workspace) -> Result<Toolchain> {
    if let Some(toolchain) = installed(workspace) {
        note(format!("installed already: {}", toolchain.name()));
        return Ok(toolchain);
    }
    let choice = std::env::var(CHOICE).unwrap_or_default();
    let mut reasons = Vec::new();
    if choice != "debian" {
        note(format!("rustup target add {TARGET} (at most {} s)", RUSTUP_LIMIT.as_secs()));
        match rustup_add() {
            Ok(()) => return Ok(Toolchain::Rustup),
            Err(reason) => reasons.push(reason),
        }
    }
    if choice != "rustup" {
        if let Some(reason) = reasons.last() {
            note(format!("that failed: {reason}"));
        }
        note("Debian's compiler can do it instead");
        match debian_install(workspace) {
            Ok(toolchain) => return Ok(toolchain),
            Err(reason) => reasons.push(reason),
        }
    }
    let tried: String = reasons.iter().map(|reason| format!("\n  - {reason}")).collect();
    Err(Error::Missing {
        what: format!("a Rust compiler for {TARGET}"),
        advice: format!(
            "Do one of these and run the command again:\n  \
             - with a network: rustup target add {TARGET}\n  \
             - on Debian 12 or later, as root: apt-get install {}\nWhat was tried:{tried}",
            PACKAGES.join(" ")
        ),
    })
}

/// Whether the toolchain that runs us has the target's core library.
fn has_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--print", "target-libdir", "--target", TARGET]);
    let Ok(folder) = process::capture(&mut command) else { return false };
    let Ok(entries) = std::fs::read_dir(folder.trim()) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

fn rustup_add() -> Result<()> {
    if !process::is_installed("rustup") {
        return Err(Error::Unexpected("rustup isn't installed".into()));
    }
    process::run_within(Command::new("rustup").args(["target", "add", TARGET]), RUSTUP_LIMIT)?;
    match has_target() {
        true => Ok(()),
        false => {
            Err(Error::Unexpected(format!("rustup has added {TARGET} to another toolchain than this one")))
        }
    }
}

const PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];
/// Brings /usr/bin/rust-lld, where no toolchain of rustup's has one to lend.
const LINKER_PACKAGE: &str = "rust-web-llvm";

/// Debian's compiler, if all of it is there.
fn debian(workspace: &Workspace) -> Option<Toolchain> {
    let present = [DEBIAN_RUSTC, DEBIAN_CARGO, DEBIAN_SOURCES].iter().all(|path| Path::new(path).is_file());
    let linker = lent_linker(workspace);
    (present && (linker.is_some() || process::is_installed("rust-lld")))
        .then_some(Toolchain::Debian { linker })
}

fn debian_install(workspace: &Workspace) -> Result<Toolchain> {
    let linker = lent_linker(workspace).is_none().then_some(LINKER_PACKAGE);
    let packages: Vec<&str> = PACKAGES.iter().copied().chain(linker).collect();
    apt::install(&packages)?;
    debian(workspace).ok_or_else(|| Error::Missing {
        what: "a part of Debian's compiler".into(),
        advice: format!(
            "{DEBIAN_RUSTC}, {DEBIAN_CARGO} and {DEBIAN_SOURCES} are needed; is this Debian 12 or later?"
        ),
    })
}

/// The linker in the toolchain that compiles the host.
fn lent_linker(workspace: &Workspace) -> Option<PathBuf> {
    let sysroot = workspace.cargo.parent()?.parent()?;
    let targets = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    targets.flatten().map(|target| target.path().join("bin/rust-lld")).find(|linker| linker.is_file())
}
