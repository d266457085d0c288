//! Policies by small components that behave, and by others that don't.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holdfast_gate::query::{Effect, Identity, Operation, Query};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::artefact::source::Source;
use crate::decide::component::ComponentPolicy;
use crate::decide::guest::processor_time;
use crate::decide::limits::{Awake, Limits, Sandbox};
use crate::decide::load_error::LoadError;
use crate::make::load::Load;
use crate::policy::Policy;
use holdfast_sandbox::{SandboxFailure, Ticker, kept_functions};

/// Bits of `facts` in wit/policy.
const KEY_ID: u32 = 1 << 2;
const TIME: u32 = 1 << 13;
const CLOCK: u32 = 1 << 14;

/// Decides `allow` by `rule-1`.
pub(crate) const ALLOW: &str = "(call $decide (i32.const 1) (i32.const 300) (i32.const 1) (i32.const 0))";

/// A component whose `evaluate`, given a pointer to the query as `$query`, runs `evaluate`, and whose `describe`
/// says that it reads `reads`.
pub(crate) fn component(reads: u32, evaluate: &str) -> Vec<u8> {
    component_with(reads, evaluate, "")
}

fn component_with(reads: u32, evaluate: &str, configure: &str) -> Vec<u8> {
    let module = format!(
        r#"(module
            (memory (export "memory") 2)
            (table 1 funcref)
            (global $next (mut i32) (i32.const 4096))
            (global $calls (mut i32) (i32.const 0))
            (data (i32.const 16) "test engine")
            (data (i32.const 64) "rule-1")
            (data (i32.const 80) "rule-2")
            (data (i32.const 96) "an error")
            (data (i32.const 300) "\40\00\00\00\06\00\00\00")
            (data (i32.const 308) "\50\00\00\00\06\00\00\00")
            (data (i32.const 316) "\60\00\00\00\08\00\00\00")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
                (local.set $at (i32.and
                    (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get 2))))
                (global.set $next (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func $decide (param $effect i32) (param $rules i32) (param $count i32) (param $errors i32) (result i32)
                (i32.store8 (i32.const 400) (local.get $effect))
                (i32.store (i32.const 404) (local.get $rules))
                (i32.store (i32.const 408) (local.get $count))
                (i32.store (i32.const 412) (i32.const 316))
                (i32.store (i32.const 416) (local.get $errors))
                (i32.const 400))
            (func $recurse (param i64) (result i64)
                (i64.add (call $recurse (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
            (func (export "holdfast:policy/policy@0.1.0#configure") (param i32 i32) (result i32)
                {configure}
                (i32.const 128))
            (func (export "holdfast:policy/policy@0.1.0#describe") (result i32)
                (i32.store (i32.const 256) (i32.const 16))
                (i32.store (i32.const 260) (i32.const 11))
                (i32.store16 (i32.const 264) (i32.const {reads}))
                (i32.store (i32.const 268) (i32.const 300))
                (i32.store (i32.const 272) (i32.const 1))
                (i32.const 256))
            (func (export "holdfast:policy/policy@0.1.0#evaluate") (param $query i32) (result i32)
                (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                {evaluate}))"#
    );
    let mut module = wat::parse_str(module).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) =
        resolve.push_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/policy")).unwrap();
    let world = resolve.select_world(&[package], Some("policy-engine")).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    wit_component::ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// Behaves for the query before the snapshot (its time is 1), and runs `body` afterwards.
fn later(body: &str) -> Vec<u8> {
    component(
        TIME,
        &format!(
            "(if (i64.ne (i64.load offset=224 (local.get $query)) (i64.const 1)) (then {body}))
             {ALLOW}"
        ),
    )
}

fn query() -> Query {
    Query {
        key_store: "frankfurt".to_owned(),
        access_key_id: "AAAAAAAAAAAAAAAAAAAA".to_owned(),
        key_id: "demo".to_owned(),
        operation: Operation::Encrypt,
        principal: Identity::Other("AWS Internal".to_owned()),
        principal_text: "AWS Internal".to_owned(),
        kms_key: None,
        kms_operation: "Encrypt".to_owned(),
        kms_request_id: "r-1".to_owned(),
        via_service: None,
        source_vpc: None,
        source_vpce: None,
        other_metadata: Vec::new(),
        tls_peer: None,
        time: 1_800_000_000,
        decrypts: Default::default(),
    }
}

fn document() -> Vec<Source> {
    vec![Source { name: "rules".to_owned(), text: "some rules".to_owned() }]
}

/// Loads, counting compilations.
async fn load_counting(
    component: &[u8],
    document: &[Source],
    limits: Limits,
    snapshots: Option<&Path>,
) -> (Result<ComponentPolicy, LoadError>, usize) {
    load_with(Ticker::start().unwrap(), component, document, limits, snapshots).await
}

async fn load_with(
    ticker: Ticker,
    component: &[u8],
    document: &[Source],
    limits: Limits,
    snapshots: Option<&Path>,
) -> (Result<ComponentPolicy, LoadError>, usize) {
    let compilations = AtomicUsize::new(0);
    let compile = |engine: &Engine, bytes: &[u8]| {
        compilations.fetch_add(1, Ordering::SeqCst);
        Component::new(engine, bytes)
    };
    let watch = |engine: &Engine| {
        ticker.add(engine);
        // The ticks go on for as long as somebody has this.
        let ticker = ticker.clone();
        Arc::new(move || ticker.awake()) as Awake
    };
    let sandbox = Sandbox { compile: &compile, watch: &watch };
    let loaded = Load { component, document, limits, snapshots, sandbox }.policy().await;
    (loaded, compilations.into_inner())
}

async fn load(component: &[u8]) -> Result<ComponentPolicy, LoadError> {
    load_counting(component, &document(), Limits::default(), None).await.0
}

async fn refused(component: &[u8]) -> LoadError {
    load(component).await.err().expect("the component is refused")
}

#[tokio::test]
async fn every_decision_is_made_by_a_fresh_instance_of_the_snapshot() {
    // One call was before the snapshot; a second one in the same instance is a third in all.
    let calls = format!("(if (i32.ne (global.get $calls) (i32.const 2)) (then unreachable)) {ALLOW}");
    let calls = format!("(if (i32.ne (global.get $calls) (i32.const 1)) (then {calls} return)) {ALLOW}");
    let policy = load(&component(TIME, &calls)).await.unwrap();
    for _ in 0..100 {
        let decision = policy.decide(&query()).await.unwrap();
        assert_eq!((decision.effect, &decision.rules), (Effect::Allow, &vec!["rule-1".to_owned()]));
    }
    let metrics = policy.metrics();
    assert_eq!((metrics.hits, metrics.misses, metrics.entries), (0, 100, 0));
    assert_eq!((policy.identity().engine.as_str(), policy.identity().rules.len()), ("test engine", 1));
}

#[tokio::test]
async fn decisions_are_cached_by_the_facts_that_are_read_and_the_others_are_not_shown() {
    // Traps where it sees an access key id or no key id.
    let sees = format!(
        "(if (i32.or (i32.load offset=12 (local.get $query)) (i32.eqz (i32.load offset=20 (local.get $query))))
             (then unreachable))
         {ALLOW}"
    );
    let policy = load(&component(KEY_ID, &sees)).await.unwrap();
    for (access_key_id, key_id) in
        [("A", "demo"), ("B", "demo"), ("B", "other"), ("A", "other"), ("", "demo")]
    {
        let query = Query { access_key_id: access_key_id.to_owned(), key_id: key_id.to_owned(), ..query() };
        assert_eq!(policy.decide(&query).await.unwrap().effect, Effect::Allow);
    }
    let metrics = policy.metrics();
    assert_eq!((metrics.hits, metrics.misses, metrics.entries), (3, 2, 2));
}

#[tokio::test]
async fn a_decision_that_reads_the_clock_is_cached_for_its_hour() {
    let policy = load(&component(KEY_ID | CLOCK, ALLOW)).await.unwrap();
    // 8:00:00 of a Friday, the end of its hour, the next one, and the same one on the next day.
    for (time, hits) in
        [(1_800_000_000, 0), (1_800_003_599, 1), (1_800_003_600, 1), (1_800_000_000 + 86_400, 1)]
    {
        policy.decide(&Query { time, ..query() }).await.unwrap();
        assert_eq!(policy.metrics().hits, hits, "at {time}");
    }
}

#[tokio::test]
async fn a_shadows_decision_is_made_and_ends_on_its_own_thread() {
    let policy = load(&later("(loop (br 0))")).await.unwrap();
    for _ in 0..2 {
        let before = processor_time();
        assert_eq!(policy.decide_apart(&query()).await.unwrap_err().kind, SandboxFailure::Time);
        // Elsewhere it would go on from its second tick on, and from then on begin there.
        assert!(processor_time() - before > Duration::from_millis(5), "{:?}", processor_time() - before);
    }
    assert_eq!(policy.metrics().failures, [(SandboxFailure::Time, 2)]);
}

#[test]
fn a_decision_ends_though_nothing_else_keeps_the_ticker_awake() {
    let (ended, ends) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let failure = runtime.block_on(async {
            let ticker = Ticker::start_that_sleeps_after(1000).unwrap();
            let policy =
                load_with(ticker, &later("(loop (br 0))"), &document(), Limits::default(), None).await.0;
            let policy = policy.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
            policy.decide_apart(&query()).await.unwrap_err()
        });
        ended.send(failure.kind).unwrap();
    });
    let failure = ends.recv_timeout(Duration::from_secs(60)).expect("it is interrupted");
    assert_eq!(failure, SandboxFailure::Time);
}

#[tokio::test]
async fn a_decision_that_is_given_up_counts_as_a_failure_after_the_policys_time() {
    let limits = Limits { instances: 1, time: Duration::from_millis(20), ..Limits::default() };
    let (policy, _) = load_counting(&later("(loop (br 0))"), &document(), limits, None).await;
    let policy = policy.unwrap();
    assert!(!policy.given_up(Duration::from_millis(19)));
    assert!(policy.metrics().failures.is_empty());
    assert!(policy.given_up(Duration::from_millis(20)));
    assert_eq!(policy.metrics().failures, [(SandboxFailure::Time, 1)]);
}

#[tokio::test]
async fn a_component_that_misbehaves_gives_a_failure_of_its_kind_and_harms_no_other() {
    let good = load(&component(TIME, ALLOW)).await.unwrap();
    for (what, kind, body) in [
        ("traps", SandboxFailure::Trap, "unreachable"),
        ("reads out of bounds", SandboxFailure::Trap, "(drop (i32.load (i32.const -8)))"),
        ("loops", SandboxFailure::Time, "(loop (br 0))"),
        ("recurses", SandboxFailure::Stack, "(drop (call $recurse (i64.const 0)))"),
        (
            "allocates without end",
            SandboxFailure::Memory,
            "(loop (drop (memory.grow (i32.const 16))) (br 0))",
        ),
        (
            "answers 16 MiB",
            SandboxFailure::Output,
            "(drop (memory.grow (i32.const 256)))
             (i32.store (i32.const 316) (i32.const 0)) (i32.store (i32.const 320) (i32.const 16777216))
             (return (call $decide (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1)))",
        ),
        (
            "answers a list of a million texts",
            SandboxFailure::Output,
            "(drop (memory.grow (i32.const 256)))
             (return (call $decide (i32.const 0) (i32.const 0) (i32.const 1000000) (i32.const 0)))",
        ),
        (
            "answers from beyond its memory",
            SandboxFailure::Output,
            "(return (call $decide (i32.const 1) (i32.const 0x7fffff00) (i32.const 1) (i32.const 0)))",
        ),
        (
            "names a rule that it doesn't have",
            SandboxFailure::Output,
            "(return (call $decide (i32.const 1) (i32.const 308) (i32.const 1) (i32.const 0)))",
        ),
        (
            "answers an effect that there isn't",
            SandboxFailure::Output,
            "(return (call $decide (i32.const 7) (i32.const 300) (i32.const 1) (i32.const 0)))",
        ),
    ] {
        let policy = load(&later(body)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        for _ in 0..2 {
            let started = Instant::now();
            let failure = policy.decide(&query()).await.expect_err(what);
            assert_eq!(failure.kind, kind, "{what}: {failure}");
            assert!(started.elapsed() < Duration::from_secs(5), "{what} took {:?}", started.elapsed());
        }
        assert_eq!(policy.metrics().failures, [(kind, 2)], "{what}");
        assert_eq!(policy.metrics().entries, 0, "{what}");
        assert_eq!(good.decide(&query()).await.unwrap().effect, Effect::Allow, "after one that {what}");
    }
}

#[tokio::test]
async fn a_component_that_loops_lets_other_work_on_its_thread_run() {
    let limits = Limits { time: Duration::from_secs(3600), ..Limits::default() };
    let (policy, _) = load_counting(&later("(loop (br 0))"), &document(), limits, None).await;
    let (policy, query) = (policy.unwrap(), query());
    // This runtime has one thread: the timeout can only fire because the guest yields.
    assert!(tokio::time::timeout(Duration::from_millis(50), policy.decide(&query)).await.is_err());
}

#[tokio::test]
async fn failing_instances_give_their_places_back() {
    let limits = Limits { instances: 2, time: Duration::from_millis(5), ..Limits::default() };
    let (policy, _) = load_counting(&later("(loop (br 0))"), &document(), limits, None).await;
    let policy = Arc::new(policy.unwrap());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let policy = policy.clone();
            tokio::spawn(async move { policy.decide(&query()).await.expect_err("it loops").kind })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), SandboxFailure::Time);
    }
}

#[tokio::test]
async fn an_allow_with_errors_is_a_denial() {
    let errors = "(call $decide (i32.const 1) (i32.const 300) (i32.const 1) (i32.const 1))";
    let decision = load(&component(KEY_ID, errors)).await.unwrap().decide(&query()).await.unwrap();
    assert_eq!((decision.effect, &decision.errors), (Effect::Deny, &vec!["an error".to_owned()]));
}

#[tokio::test]
async fn a_component_that_wants_something_from_the_host_is_refused_by_name() {
    let importing = wat::parse_str(
        r#"(component
            (import "wasi:clocks/wall-clock@0.2.0" (instance (export "now" (func (result u64)))))
            (import "wasi:http/types@0.2.0" (instance (export "now" (func (result u64)))))
            (import "log" (func (param "text" string))))"#,
    );
    match refused(&importing.unwrap()).await {
        LoadError::Imports(names) => assert_eq!(names, ["wasi:http/types@0.2.0", "log"]),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_is_not_a_policy_component_is_refused() {
    assert!(matches!(refused(b"").await, LoadError::World(_)));
    assert!(matches!(refused(b"\0asm\x01\0\0\0").await, LoadError::World(_)));
    assert!(matches!(refused(&wat::parse_str("(component)").unwrap()).await, LoadError::World(_)));
    let table = component(TIME, &format!("(table.set (i32.const 0) (ref.null func)) {ALLOW}"));
    assert!(matches!(refused(&table).await, LoadError::Snapshot(_)));
}

#[tokio::test]
async fn a_component_that_fails_while_it_reads_the_document_is_refused() {
    let configure = |body: &str| component_with(TIME, ALLOW, body);
    let limits = Limits { loading_time: Duration::from_millis(50), ..Limits::default() };
    for (kind, body) in [
        (SandboxFailure::Trap, "unreachable"),
        (SandboxFailure::Time, "(loop (br 0))"),
        (SandboxFailure::Stack, "(drop (call $recurse (i64.const 0)))"),
        (SandboxFailure::Memory, "(loop (drop (memory.grow (i32.const 16))) (br 0))"),
    ] {
        match load_counting(&configure(body), &document(), limits.clone(), None).await.0.err() {
            Some(LoadError::Failed(failure)) => assert_eq!(failure.kind, kind, "{failure}"),
            other => panic!("{kind:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn problems_of_the_document_come_with_their_place() {
    // err([{source: "rule-1", line: 3, column: 5, message: "rule-2"}])
    let problem = "(i32.store8 (i32.const 128) (i32.const 1))
        (i32.store (i32.const 132) (i32.const 160)) (i32.store (i32.const 136) (i32.const 1))
        (i32.store (i32.const 160) (i32.const 64)) (i32.store (i32.const 164) (i32.const 6))
        (i32.store (i32.const 168) (i32.const 3)) (i32.store (i32.const 172) (i32.const 5))
        (i32.store (i32.const 176) (i32.const 80)) (i32.store (i32.const 180) (i32.const 6))";
    let error = refused(&component_with(TIME, ALLOW, problem)).await;
    assert!(error.to_string().ends_with("rule-1:3:5: rule-2"), "{error}");
}

fn with_extension(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|found| found == extension)).collect()
}

#[tokio::test]
async fn a_snapshot_is_kept_for_the_next_start_by_component_and_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshots");
    let start = async |component: &[u8], document: &[Source]| {
        let (policy, compilations) = load_counting(component, document, Limits::default(), Some(&path)).await;
        assert_eq!(policy.unwrap().decide(&query()).await.unwrap().effect, Effect::Allow);
        compilations
    };
    let files = || with_extension(&path, "snapshot");
    let one = component(KEY_ID, ALLOW);
    assert_eq!(start(&one, &document()).await, 2);
    assert_eq!(start(&one, &document()).await, 1);
    let [file] = &files()[..] else { panic!("{:?}", files()) };
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(file)), (0o700, 0o600));

    let mut damaged = std::fs::read(file).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(file, damaged).unwrap();
    assert_eq!(start(&one, &document()).await, 2);
    assert_eq!(start(&one, &document()).await, 1);

    let mut changed = document();
    changed[0].text.push('.');
    assert_eq!(start(&one, &changed).await, 2);
    assert_eq!(start(&component(TIME, ALLOW), &changed).await, 2);
    assert_eq!(files().len(), 3);

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (refused, _) = load_counting(&one, &document(), Limits::default(), Some(&path)).await;
    assert!(matches!(refused.err(), Some(LoadError::Folder(..))));
}

#[tokio::test]
async fn for_another_document_few_functions_are_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let component = component(KEY_ID, ALLOW);
    let of = |text: &str| vec![Source { name: "rules".to_owned(), text: text.to_owned() }];
    let (first, _) = load_counting(&component, &of("one"), Limits::default(), Some(folder.path())).await;
    first.unwrap();
    let before = kept_functions(&with_extension(folder.path(), "functions")[0]);
    assert!(before.len() > 4, "describe, evaluate and what they call: {}", before.len());
    let (second, _) = load_counting(&component, &of("another"), Limits::default(), Some(folder.path())).await;
    // What was compiled is there now: of so small a component, what its different memory changes.
    let after = kept_functions(&with_extension(folder.path(), "functions")[0]);
    let new = after.difference(&before).count();
    assert!(new * 3 < after.len(), "{new} of {}", after.len());
    assert_eq!(second.unwrap().decide(&query()).await.unwrap().effect, Effect::Allow);
}
