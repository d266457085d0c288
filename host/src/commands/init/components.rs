//! Finds the component files that `init` copies.

use std::io;
use std::path::{Path, PathBuf};

/// The files that a new configuration names.
const NAMES: [&str; 3] = ["sigv4.wasm", "proxy.wasm", "policy-cedar.wasm"];

/// The components of a new folder: name and content.
pub type Files = Vec<(&'static str, Vec<u8>)>;

/// The component files weren't found.
#[derive(Debug, thiserror::Error)]
pub enum ComponentsError {
    #[error("can't read {}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error(
        "no folder with {} was found; looked in {}; name it with --components (cargo xtask build makes them)",
        NAMES.join(", "),
        looked_in(.0)
    )]
    NotFound(Vec<PathBuf>),
}

fn looked_in(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Reads the three files from `folder`, or from where they are beside the executable.
pub fn find(folder: Option<&Path>) -> Result<Files, ComponentsError> {
    let folders = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => beside_executable(),
    };
    let whole = |folder: &&PathBuf| NAMES.iter().all(|name| folder.join(name).is_file());
    let Some(folder) = folders.iter().find(whole) else {
        return Err(ComponentsError::NotFound(folders));
    };
    NAMES
        .iter()
        .map(|name| {
            let file = folder.join(name);
            let content =
                std::fs::read(&file).map_err(|source| ComponentsError::Unreadable { file, source })?;
            Ok((*name, content))
        })
        .collect()
}

/// An unpacked release, a build folder, and an installed package.
pub fn beside_executable() -> Vec<PathBuf> {
    let executable = std::env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_default();
    let folder = executable.parent().unwrap_or(Path::new("")).to_owned();
    let parent = folder.parent().unwrap_or(&folder);
    vec![folder.join("components"), parent.join("components"), parent.join("share/holdfast/components")]
}
