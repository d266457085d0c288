//! The key stores' policies.

use std::path::Path;

use super::checks::Checks;
use super::files;
use crate::commands::output::with_sources;
use crate::config::Policy;
use holdfast_policy::artefact::Source;
use holdfast_policy::decide::Limits;
use holdfast_policy::make::Loader;
use holdfast_policy::{Policy as _, PolicyIdentity};

pub fn check(checks: &mut Checks<'_>) {
    for (index, store) in checks.config.key_stores.iter().enumerate() {
        let Some(policy) = &store.policy else { continue };
        let field = format!("key_store[{index}].policy");
        let component = format!("{field}.component");
        let taken = files::component(checks, &component, "key_store.policy.component", &policy.component);
        let document = document(checks, &field, policy);
        let Some(document) = document.filter(|_| taken) else { continue };
        match load(&policy.component.path, &document) {
            Ok(identity) => {
                let (rules, engine) = (identity.rules.len(), identity.engine);
                checks.right(format!("policy of key store {}: {rules} rules for {engine}", store.name));
            }
            Err(error) => {
                for line in with_sources(error.as_ref()).lines() {
                    checks.problem(&format!("{field}.files"), line);
                }
            }
        }
    }
}

fn document(checks: &mut Checks<'_>, field: &str, policy: &Policy) -> Option<Vec<Source>> {
    let mut document = Vec::new();
    for (number, file) in policy.files.iter().enumerate() {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => document.push(Source { name, text }),
            Err(error) => {
                checks.problem(&format!("{field}.files[{number}]"), format!("can't read {name}: {error}"))
            }
        }
    }
    (document.len() == policy.files.len()).then_some(document)
}

/// Loads the policy as the server does, and keeps nothing of it.
fn load(
    component: &Path,
    document: &[Source],
) -> Result<PolicyIdentity, Box<dyn std::error::Error + Send + Sync>> {
    let component = std::fs::read(component)?;
    let loader = Loader::alone(None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let loaded = runtime.block_on(loader.load(&component, document, Limits::default()))?;
    Ok(loaded.identity().clone())
}
