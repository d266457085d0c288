//! Loading a policy: a component and the document that it is to decide by.

use std::path::Path;
use std::sync::Arc;

use holdfast_gate::query::{Arn, DecryptCounts, Identity, Operation, Query};
use holdfast_gate::rules::check_description;
use sha2::{Digest, Sha256};
use wasmtime::{Engine, Store};

use crate::artefact::format::imports_wasi;
use crate::artefact::source::{Problem, Source};
use crate::decide::bindings::{PolicyEngine, types};
use crate::decide::component::ComponentPolicy;
use crate::decide::facts::Reads;
use crate::decide::guest::{Bounds, Run};
use crate::decide::limits::{Limits, Sandbox};
use crate::decide::load_error::LoadError;
use crate::decide::loaded::{Loaded, borrow};
use crate::decide::world::{WASI_MEMORY, prepare};
use crate::decide::{engines, guest};
use crate::digest::hex;
use crate::make::snapshot;
use crate::make::stored::SnapshotFolder;
use holdfast_sandbox::CompiledFunctions;

/// Bytes that the host takes from `configure` (problems) and `describe` (ids of rules).
const LOADING_OUTPUT: usize = 4 * 1024 * 1024;
/// A page for wizer to answer in, each of the few times that it is asked.
const ACCESS_MEMORY: usize = 16 * 64 * 1024;
/// What to load, and how.
pub struct Load<'a> {
    /// The component's bytes.
    pub component: &'a [u8],
    /// The document's files.
    pub document: &'a [Source],
    /// What the component may use.
    pub limits: Limits,
    /// A private folder to keep snapshots in; without one, each start reads the document.
    pub snapshots: Option<&'a Path>,
    /// The rest of the host's sandbox.
    pub sandbox: Sandbox<'a>,
}

impl Load<'_> {
    /// Prepares instances: of a snapshot of the configured component, or of the component itself where it imports from
    /// WASI.
    pub(crate) async fn run(&self) -> Result<Loaded, LoadError> {
        if imports_wasi(self.component) {
            return self.run_on(engines::unpooled_engine().map_err(LoadError::Engine)?).await;
        }
        let component = || hex(&Sha256::digest(self.component));
        let functions = self.snapshots.map(|folder| Arc::new(CompiledFunctions::of(&component(), folder)));
        let engine = engines::deciding_engine(&self.limits, functions.clone()).map_err(LoadError::Engine)?;
        let loaded = self.run_on(engine).await;
        if let Some(functions) = functions {
            functions.keep();
        }
        loaded
    }

    /// A policy that decides by the document.
    ///
    /// # Errors
    /// Where the component isn't one for policies or wants to import something, and where the document has problems.
    pub async fn policy(&self) -> Result<ComponentPolicy, LoadError> {
        Ok(ComponentPolicy::new(self.run().await?, &self.limits))
    }

    /// The same on another engine.
    pub(crate) async fn run_on(&self, engine: Engine) -> Result<Loaded, LoadError> {
        let component = hex(&Sha256::digest(self.component));
        let revision = revision(self.document);
        let wasi = imports_wasi(self.component);
        let (bytes, memory, document) = match wasi {
            true => (self.component.to_vec(), WASI_MEMORY, Some(self.document.to_vec())),
            false => (self.kept_snapshot(&component, &revision).await?, self.limits.memory, None),
        };
        let awake = (self.sandbox.watch)(&engine);
        let code = (self.sandbox.compile)(&engine, &bytes).map_err(LoadError::World)?;
        let instances = prepare(&engine, &code)?;
        // Compiling may have taken long.
        awake();
        let mut store = self.loading_store(&engine, memory);
        let policy = instances.instantiate_async(&mut store).await.map_err(failed)?;
        let policy = policy.holdfast_policy_policy();
        if let Some(document) = &document {
            policy.call_configure(&mut store, &borrow(document)).await.map_err(failed)?.map_err(problems)?;
        }
        let description = policy.call_describe(&mut store).await.map_err(failed)?;
        check(&description)?;
        Ok(Loaded { engine, awake, instances, component, revision, description, memory, document })
    }

    /// The snapshot, made unless that was done before.
    async fn kept_snapshot(&self, component: &str, revision: &str) -> Result<Vec<u8>, LoadError> {
        let Some(path) = self.snapshots else { return self.snapshot().await };
        let failed = |error| LoadError::Folder(path.to_owned(), error);
        let folder = SnapshotFolder::open(path).map_err(failed)?;
        if let Some(snapshot) = folder.get(component, revision) {
            return Ok(snapshot);
        }
        let snapshot = self.snapshot().await?;
        folder.put(component, revision, &snapshot).map_err(failed)?;
        Ok(snapshot)
    }

    /// The component with the document already inside, for hosts that can't configure it. `None` where it imports from
    /// WASI; it has read the document then, and found nothing wrong.
    pub async fn configured(&self) -> Result<Option<Vec<u8>>, LoadError> {
        match imports_wasi(self.component) {
            true => self.run().await.map(|_| None),
            false => {
                let component = hex(&Sha256::digest(self.component));
                self.kept_snapshot(&component, &revision(self.document)).await.map(Some)
            }
        }
    }

    /// Runs the component up to the point where it has read the document and decided once.
    async fn snapshot(&self) -> Result<Vec<u8>, LoadError> {
        let engine = engines::loading_engine().map_err(LoadError::Engine)?;
        let awake = (self.sandbox.watch)(&engine);
        let (context, instrumented) = match snapshot::instrument(self.component) {
            Ok(instrumented) => instrumented,
            Err(error) => {
                // Imports are the more useful thing to say, and a usual reason.
                let code = (self.sandbox.compile)(&engine, self.component).map_err(LoadError::World)?;
                prepare(&engine, &code)?;
                return Err(LoadError::Snapshot(error));
            }
        };
        let code = (self.sandbox.compile)(&engine, &instrumented).map_err(LoadError::World)?;
        let instances = prepare(&engine, &code)?;
        awake();
        let mut store = self.loading_store(&engine, self.limits.memory);
        let instance = instances.instance_pre().instantiate_async(&mut store).await.map_err(failed)?;
        let policy = PolicyEngine::new(&mut store, &instance).map_err(LoadError::World)?;
        let policy = policy.holdfast_policy_policy();
        policy.call_configure(&mut store, &borrow(self.document)).await.map_err(failed)?.map_err(problems)?;
        let description = policy.call_describe(&mut store).await.map_err(failed)?;
        check(&description)?;
        // What a first decision allocates and looks up is then part of the snapshot.
        let (warm_up, reads) = (warm_up(), Reads::new(description.reads));
        policy.call_evaluate(&mut store, reads.view(&warm_up, &[])).await.map_err(failed)?;
        snapshot::take(&context, &engine, &code, &instance, &mut store).await.map_err(LoadError::Snapshot)
    }

    fn loading_store(&self, engine: &Engine, memory: usize) -> Store<Bounds> {
        let memory = memory + ACCESS_MEMORY;
        let mut store =
            guest::store(engine, Run::Loading, self.limits.loading_time, memory, memory + LOADING_OUTPUT);
        // An engine that counts instructions begins with none to spend; the others refuse, and have no need of any.
        let _ = store.set_fuel(u64::MAX);
        store
    }
}

fn check(description: &types::Description) -> Result<(), LoadError> {
    let types::Description { engine, rules, messages, .. } = description;
    check_description(engine, rules, messages).map_err(LoadError::Description)
}

fn failed(error: wasmtime::Error) -> LoadError {
    LoadError::Failed(error.into())
}

fn problems(problems: Vec<types::Problem>) -> LoadError {
    let problem = |problem: types::Problem| Problem {
        source: problem.source,
        line: problem.line,
        column: problem.column,
        message: problem.message,
    };
    LoadError::Document(problems.into_iter().map(problem).collect())
}

/// A query that is answered before the snapshot is taken. Its texts are as long as usual ones.
pub(crate) fn warm_up() -> Query {
    let arn = |service: &str, region: &str, resource: &str, role: Option<&str>| Arn {
        partition: "aws".to_owned(),
        service: service.to_owned(),
        region: region.to_owned(),
        account: "000000000000".to_owned(),
        resource: resource.to_owned(),
        role: role.map(str::to_owned),
    };
    let kms_key = arn("kms", "eu-central-1", "key/00000000-0000-0000-0000-000000000000", None);
    Query {
        key_store: "warm-up".to_owned(),
        access_key_id: "AAAAAAAAAAAAAAAAAAAA".to_owned(),
        key_id: "warm-up".to_owned(),
        operation: Operation::Encrypt,
        principal: Identity::Arn(arn("sts", "", "assumed-role/warm-up/0123456789abcdef0", Some("warm-up"))),
        principal_text: "arn:aws:sts::000000000000:assumed-role/warm-up/0123456789abcdef0".to_owned(),
        kms_key: Some(Identity::Arn(kms_key)),
        kms_operation: "GenerateDataKeyWithoutPlaintext".to_owned(),
        kms_request_id: "00000000-0000-0000-0000-000000000000".to_owned(),
        via_service: Some("ebs".to_owned()),
        source_vpc: Some("vpc-00000000000000000".to_owned()),
        source_vpce: Some("vpce-00000000000000000".to_owned()),
        other_metadata: Vec::new(),
        tls_peer: Some("CN=warm-up".to_owned()),
        time: 1,
        decrypts: DecryptCounts { minute: 1, hour: 1, key_minute: 1, key_hour: 1 },
    }
}

/// SHA-256 over the files' names and texts.
fn revision(document: &[Source]) -> String {
    let mut hash = Sha256::new();
    for part in document.iter().flat_map(|source| [&source.name, &source.text]) {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}
