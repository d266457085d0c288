//! A policy component with its document inside, or beside it where that can't be.

use std::path::Path;

use holdfast_gate::strict::write_text;

use crate::commands::CommandError;
use crate::commands::policy::opened::Opened;
use crate::config;
use holdfast_policy::artefact::{Artefact, Source};
use holdfast_policy::decide::Limits;
use holdfast_policy::make::Loader;
use holdfast_sandbox::{CompiledCache, digest};

#[derive(Debug, thiserror::Error)]
enum PolicyError {
    #[error("can't read {path}")]
    Read { path: String, source: std::io::Error },
    #[error("{path} has the digest {found}, and the configuration wants {wanted}")]
    Digest { path: String, found: String, wanted: String },
    #[error("two files of the policy are called {0}; give them different names")]
    SameName(String),
}

/// A component and what it is to decide by.
pub struct Chosen {
    component: Vec<u8>,
    document: Vec<Source>,
}

impl Chosen {
    /// What the configuration names.
    pub fn by_configuration(policy: &config::Policy) -> Result<Chosen, CommandError> {
        let component = read(&policy.component.path)?;
        if let Some(pin) = &policy.component.sha256 {
            let (found, wanted) = (digest(&component), pin.to_string());
            if found != wanted {
                let path = policy.component.path.display().to_string();
                return Err(PolicyError::Digest { path, found, wanted }.into());
            }
        }
        let mut document = Vec::new();
        for path in &policy.files {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            let text = String::from_utf8(read(path)?)?;
            document.push(Source { name, text });
        }
        Ok(Chosen { component, document })
    }

    /// An artefact, as `holdfast policy pack` makes it, or what one would be made of.
    pub fn by_path(path: &Path) -> Result<Chosen, CommandError> {
        let Artefact { component, document, .. } = Opened::read(path)?.artefact;
        Ok(Chosen { component, document })
    }
}

/// Runs the component on the document as the server does, and gives it in the state after; the second is empty then.
///
/// A component that imports from WASI has state outside of its memory: it is given as it is, and its document as a JSON
/// object of the files' texts by their names, for the gate to configure it with.
///
/// A server of this user has done it before, as often as not, and `cache` has what came of it.
pub fn for_spin(chosen: Chosen, cache: &Path) -> Result<(Vec<u8>, String), CommandError> {
    let Chosen { component, document } = chosen;
    // Another user's folder is no reason to fail.
    let loader = Loader::alone(CompiledCache::open(cache).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let configured =
        loader.prepare(&component, &document, Limits::default(), async |load| load.configured().await);
    match runtime.block_on(configured)? {
        Some(configured) => Ok((configured, String::new())),
        None => {
            let document = by_name(&document)?;
            Ok((component, document))
        }
    }
}

fn by_name(document: &[Source]) -> Result<String, PolicyError> {
    let mut json = String::from("{");
    for (i, Source { name, text }) in document.iter().enumerate() {
        if document[..i].iter().any(|before| before.name == *name) {
            return Err(PolicyError::SameName(name.clone()));
        }
        // In the configuration's order.
        json.push_str(if i > 0 { "," } else { "" });
        write_text(&mut json, name);
        json.push(':');
        write_text(&mut json, text);
    }
    json.push('}');
    Ok(json)
}

fn read(path: &Path) -> Result<Vec<u8>, PolicyError> {
    std::fs::read(path).map_err(|source| PolicyError::Read { path: path.display().to_string(), source })
}
