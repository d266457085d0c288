//! A component that is ready to decide, and its configured instances.

use wasmtime::{Engine, Store};

use crate::artefact::source::Source;
use crate::decide::bindings::{PolicyEngine, PolicyEnginePre, types};
use crate::decide::guest::Bounds;
use crate::decide::limits::Awake;
use crate::decide::wasi::Denied;

/// A policy that is ready to decide.
pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    /// To be called where a decision begins.
    pub(crate) awake: Awake,
    pub(crate) instances: PolicyEnginePre<Bounds>,
    pub(crate) component: String,
    pub(crate) revision: String,
    pub(crate) description: types::Description,
    /// Bytes that an instance may use.
    pub(crate) memory: usize,
    /// What an instance that isn't made of a snapshot has to read first.
    pub(crate) document: Option<Vec<Source>>,
}

impl Loaded {
    /// Whether instances start out configured.
    pub(crate) fn is_snapshot(&self) -> bool {
        self.document.is_none()
    }

    /// A configured instance, whose clocks show `time` if it has any.
    pub(crate) async fn instance(
        &self,
        store: &mut Store<Bounds>,
        time: u64,
    ) -> wasmtime::Result<PolicyEngine> {
        let Some(document) = &self.document else { return self.instances.instantiate_async(store).await };
        store.data_mut().wasi = Some(Box::new(Denied::at(time)));
        let policy = self.instances.instantiate_async(&mut *store).await?;
        let configured = policy.holdfast_policy_policy().call_configure(store, &borrow(document)).await?;
        match configured {
            Ok(()) => Ok(policy),
            Err(_) => Err(wasmtime::format_err!("it refuses the document that it took when it was loaded")),
        }
    }
}

/// The document as the contract has it.
pub(crate) fn borrow(document: &[Source]) -> Vec<types::Source<'_>> {
    document.iter().map(|source| types::Source { name: &source.name, text: &source.text }).collect()
}
