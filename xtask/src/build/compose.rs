//! The component that Spin runs, put together of those beside it.

use holdfast_compose::{Parts, compose};
use sha2::{Digest, Sha256};

use super::component::Built;
use crate::error::{Error, Result, file};
use crate::workspace::{Workspace, write_if_changed};

/// The name of what is composed, without `.wasm`.
pub const NAME: &str = "holdfast-spin";

/// Composes `target/components/holdfast-spin.wasm`; the policy is left to Spin's manifest.
pub fn build(workspace: &Workspace) -> Result<Built> {
    let read = |name: &str| {
        let path = workspace.components().join(name).with_extension("wasm");
        std::fs::read(&path).map_err(file("can't read", &path))
    };
    let (sigv4, gate, proxy, front) =
        (read("sigv4")?, read("spin-gate")?, read("proxy")?, read("spin-front")?);
    let parts = Parts { sigv4: &sigv4, gate: &gate, proxy: &proxy, front: &front, policy: None };
    let failed = |error: holdfast_compose::ComposeError| Error::Component {
        component: NAME.into(),
        reason: error.to_string(),
    };
    let bytes = compose(&parts).map_err(failed)?;
    let path = workspace.components().join(NAME).with_extension("wasm");
    let changed = write_if_changed(&path, &bytes)?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Built { size: bytes.len(), sha256, changed })
}
