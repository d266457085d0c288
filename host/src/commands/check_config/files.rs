//! Components, the cache of their compiled code, and the audit log's place.

use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::checks::Checks;
use crate::commands::component;
use crate::commands::output::with_sources;
use crate::config::ComponentFile;

pub fn check(checks: &mut Checks<'_>) {
    let config = checks.config;
    component(checks, "components.sigv4", "components.sigv4", &config.components.sigv4);
    component(checks, "components.proxy", "components.proxy", &config.components.proxy);
    cache(checks, &config.components.cache);
    audit(checks, &config.audit.path);
}

/// The file of a component that belongs at `role`; tells whether it would be taken.
pub fn component(checks: &mut Checks<'_>, field: &str, role: &str, file: &ComponentFile) -> bool {
    let path = format!("{field}.path");
    let report = match component::inspect(&file.path) {
        Ok(report) => report,
        Err(error) => {
            checks.problem(&path, with_sources(&error));
            return false;
        }
    };
    let shown = file.path.display();
    if let Some(pinned) = file.sha256.filter(|pinned| pinned.to_string() != report.sha256) {
        checks.problem(
            &format!("{field}.sha256"),
            format!("{shown} has the digest {}, not {pinned}", report.sha256),
        );
        return false;
    }
    if !report.accepted {
        checks.problem(&path, format!("{shown} is refused: it {}", report.reasons.join("; it ")));
        return false;
    }
    if report.configured_as != Some(role) {
        let belongs = report.configured_as.unwrap_or("nowhere");
        checks.problem(&path, format!("{shown} belongs at {belongs}"));
        return false;
    }
    checks.right(format!("component {shown}, sha256 {}", report.sha256));
    true
}

fn cache(checks: &mut Checks<'_>, folder: &Path) {
    const FIELD: &str = "components.cache";
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => checks.problem(FIELD, format!("{shown} is no folder")),
        // Who can write there can make the host run any machine code.
        Ok(found) if found.permissions().mode() & 0o077 != 0 => checks.problem(
            FIELD,
            format!("{shown} must be open to its owner only, as it holds compiled code: chmod 700 {shown}"),
        ),
        Ok(_) => checks.right(format!("cache {shown}")),
        Err(_) if parent(folder).is_dir() => checks.right(format!("cache {shown}, to be made")),
        Err(_) => {
            checks.problem(
                FIELD,
                format!("{} must exist, so that {shown} can be made", parent(folder).display()),
            );
        }
    }
}

fn audit(checks: &mut Checks<'_>, file: &Path) {
    const FIELD: &str = "audit.path";
    let shown = file.display();
    if !file.exists() {
        match parent(file).is_dir() {
            true => checks.right(format!("audit log {shown}, to be made")),
            false => {
                checks.problem(
                    FIELD,
                    format!("{} must exist, so that {shown} can be made", parent(file).display()),
                );
            }
        }
        return;
    }
    match OpenOptions::new().append(true).open(file) {
        Ok(_) => checks.right(format!("audit log {shown}")),
        Err(error) => checks.problem(FIELD, format!("can't append to {shown}: {error}")),
    }
}

/// The folder of a file; the current one for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
