//! Debian packages.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, Result, file};
use crate::process;
use crate::report::{note, seconds};

/// Installing may include downloading 200 MB.
const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);
const UPDATE_LIMIT: Duration = Duration::from_secs(3 * 60);

/// Installs packages, with fresh package lists if the present ones don't do. Removes nothing.
pub fn install(packages: &[&str]) -> Result<()> {
    if !process::is_installed("apt-get") {
        return Err(unable(packages, "this system has no apt-get"));
    }
    let Some(prefix) = privilege() else {
        return Err(unable(packages, "this user is neither root nor may use sudo without a password"));
    };
    note(format!("apt-get install {} (at most {})", packages.join(" "), seconds(INSTALL_LIMIT)));
    let install = |arguments: &[&str]| {
        let mut command = apt_get(prefix);
        command.args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(arguments);
        process::run_within(&mut command, INSTALL_LIMIT)
    };
    if install(packages).is_ok() {
        return Ok(());
    }
    note("not with the package lists that are here; apt-get update");
    process::run_within(apt_get(prefix).arg("update"), UPDATE_LIMIT)?;
    install(packages)
}

/// Unpacks a package into a folder: installed, it would run a server.
pub fn unpack(package: &str, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(file("can't create", folder))?;
    let download = || {
        let mut command = Command::new("apt-get");
        command.args(["--quiet", "download", package]).current_dir(folder);
        process::run_within(&mut command, INSTALL_LIMIT)
    };
    note(format!("apt-get download {package} (at most {})", seconds(INSTALL_LIMIT)));
    if download().is_err() {
        let prefix = privilege().ok_or_else(|| unable(&[package], "apt-get download didn't succeed"))?;
        process::run_within(apt_get(prefix).arg("update"), UPDATE_LIMIT)?;
        download()?;
    }
    let entries = std::fs::read_dir(folder).map_err(file("can't read", folder))?;
    for path in
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension() == Some("deb".as_ref()))
    {
        process::run_within(Command::new("dpkg-deb").arg("-x").arg(&path).arg(folder), UPDATE_LIMIT)?;
        std::fs::remove_file(&path).map_err(file("can't remove", &path))?;
    }
    Ok(())
}

fn apt_get(prefix: &[&str]) -> Command {
    let words: Vec<&str> = prefix.iter().copied().chain(["apt-get"]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--quiet", "-o", "DPkg::Lock::Timeout=120"]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// What goes before a command that needs root: nothing, `sudo -n`, or there is no way.
fn privilege() -> Option<&'static [&'static str]> {
    // SAFETY: geteuid has no arguments and can't fail.
    if unsafe { libc::geteuid() } == 0 {
        return Some(&[]);
    }
    let allowed =
        process::output(Command::new("sudo").args(["-n", "true"])).is_ok_and(|done| done.status.success());
    allowed.then_some(&["sudo", "-n"])
}

fn unable(packages: &[&str], why: &str) -> Error {
    Error::Missing {
        what: format!("Debian's {}", packages.join(", ")),
        advice: format!("Can't install it: {why}. As root: apt-get install {}", packages.join(" ")),
    }
}
