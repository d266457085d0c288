use crate::artefact::format::{Artefact, artefact_digest};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::artefact::signature::TrustedKeys;
use crate::life::change::{RecordError, Told};
use crate::life::error::LifeError;
use crate::life::lifecycle::{Configured, Lifecycle, Settings};
use crate::life::probation::Failed;
use crate::life::registry::Registry;
use crate::life::registry::Staged;
use crate::life::selection::Selection;
use crate::make::loader::Loader;
use crate::tests::{ALLOW, component};

const ONLY: Selection = Selection::Only;

/// A folder of policies, and hosts that begin with it one after the other.
struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Room {
        Room { folder: tempfile::tempdir().unwrap() }
    }

    fn registry(&self) -> Registry {
        Registry::open(&self.folder.path().join("policies")).unwrap()
    }

    /// Keeps a policy as if it had passed its checks; its digest.
    fn stage(&self, number: u32, signer: Option<&str>) -> String {
        let bytes = policy(number);
        let (mut registry, digest) = (self.registry(), artefact_digest(&bytes));
        let mut incoming = registry.receive().unwrap();
        incoming.write(&bytes).unwrap();
        registry.keep(incoming, &digest).unwrap();
        registry.change(|state| state.staged.push(staged(&digest, signer))).unwrap();
        digest
    }

    /// The key store `demo`, whose configuration names no policy.
    async fn host(&self, trusted_keys: TrustedKeys, allow_unsigned: bool) -> Arc<Lifecycle> {
        let configured = Configured { key_store: "demo".to_owned(), policy: None, cache_bytes: 0 };
        let settings = Settings {
            trusted_keys,
            allow_unsigned,
            automatic_rollback: None,
            cache: self.folder.path().join("cache"),
        };
        let (folder, loader) = (self.folder.path().join("policies"), Loader::alone(None).unwrap());
        Lifecycle::start(&folder, vec![configured], loader, settings).await.0
    }
}

/// Different ones by their numbers.
fn policy(number: u32) -> Vec<u8> {
    component(0, &format!("(drop (i32.const {number})) {ALLOW}"))
}

fn staged(digest: &str, signer: Option<&str>) -> Staged {
    Staged {
        artefact: digest.to_owned(),
        name: None,
        signer: signer.map(str::to_owned),
        engine: String::new(),
        rules: 1,
        time: 1,
        by: "test".to_owned(),
    }
}

fn keys(publics: &[&str]) -> TrustedKeys {
    TrustedKeys::parse(publics.iter().copied()).unwrap()
}

/// A public key and its id.
fn key() -> (String, String) {
    let public = minisign::KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
    let id = keys(&[&public]).ids().next().unwrap().to_owned();
    (public, id)
}

fn failed(activation: u64) -> Failed {
    Failed { key_store: "demo".to_owned(), activation, failures: 1, after: Duration::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_needs_a_policy_to_decide_beside() {
    let room = Room::new();
    let (one, two) = (room.stage(1, None), room.stage(2, None));
    let host = room.host(TrustedKeys::default(), true).await;
    let refused = host.shadow(Some(&two), &ONLY).await.unwrap_err();
    assert!(matches!(&refused, LifeError::NothingBeside(name) if name == "demo"), "{refused}");
    assert_eq!(room.registry().state().shadow("demo"), None);
    host.activate(&one, &ONLY, "test").await.unwrap();
    host.shadow(Some(&two), &ONLY).await.unwrap();
    assert!(host.standing().await.key_stores[0].shadow.is_some());
    host.roll_back(Some(0), &ONLY, "test").await.unwrap();
    assert_eq!(room.registry().state().shadow("demo"), None, "nothing decides beside it any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_trusted_any_more_is_not_put_in_force_and_stays_where_it_is() {
    let room = Room::new();
    let ((one_public, one_id), (other_public, other_id)) = (key(), key());
    let good = room.stage(1, Some(&one_id));
    let foreign = room.stage(2, Some(&other_id));
    let unsigned = room.stage(3, None);
    let host = room.host(keys(&[&one_public, &other_public]), true).await;
    for artefact in [&good, &foreign, &unsigned] {
        host.activate(artefact, &ONLY, "test").await.unwrap();
    }
    drop(host);

    let host = room.host(keys(&[&one_public]), false).await;
    let standing = host.standing().await;
    let demo = &standing.key_stores[0];
    assert_eq!((demo.decides, demo.artefact.as_ref()), (true, Some(&unsigned)));
    assert!(demo.untrusted.as_ref().unwrap().contains("allow_unsigned"));
    assert_eq!(standing.untrusted, [foreign.clone(), unsigned.clone()]);
    for refused in [
        host.activate(&foreign, &ONLY, "test").await.unwrap_err(),
        host.roll_back(Some(2), &ONLY, "test").await.unwrap_err(),
        host.roll_back(None, &ONLY, "test").await.unwrap_err(),
        host.shadow(Some(&foreign), &ONLY).await.unwrap_err(),
    ] {
        assert!(matches!(refused, LifeError::Untrusted { .. }), "{refused}");
        assert!(refused.to_string().contains(&other_id), "{refused}");
    }
    let refused = host.activate(&unsigned, &ONLY, "test").await.unwrap_err();
    assert!(refused.to_string().contains("nobody signed it"), "{refused}");
    assert_eq!(room.registry().state().active("demo").unwrap().number, 3);
    let back = host.roll_back_failed(&failed(3)).await.unwrap().unwrap();
    assert_eq!(back.changes[0].artefact.as_ref(), Some(&good), "the last one that is trusted");
    assert_eq!(host.standing().await.key_stores[0].untrusted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_is_not_trusted_any_more_does_not_come_back() {
    let room = Room::new();
    let (public, id) = key();
    let (one, candidate) = (room.stage(1, Some(&id)), room.stage(2, None));
    let host = room.host(keys(&[&public]), true).await;
    host.activate(&one, &ONLY, "test").await.unwrap();
    host.shadow(Some(&candidate), &ONLY).await.unwrap();
    drop(host);
    let host = room.host(keys(&[&public]), false).await;
    assert!(host.standing().await.key_stores[0].shadow.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_loaded_is_not_staged() {
    let room = Room::new();
    let host = room.host(TrustedKeys::default(), true).await;
    let component = wat::parse_str("(component)").unwrap();
    let digest = artefact_digest(&component);
    let artefact = Artefact { component, manifest: None, document: Vec::new(), tests: Vec::new() };
    let incoming = host.receive().await.unwrap();
    let refused = host.keep(incoming, artefact, &staged(&digest, None)).await.unwrap_err();
    assert!(matches!(refused, LifeError::Load(_)), "{refused}");
    assert!(room.registry().state().staged.is_empty() && host.standing().await.staged.is_empty());
    assert!(!room.registry().artefact_path(&digest).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_that_hangs_is_not_waited_for() {
    let room = Room::new();
    let (one, two) = (room.stage(1, None), room.stage(2, None));
    let host = room.host(TrustedKeys::default(), true).await;
    host.activate(&one, &ONLY, "test").await.unwrap();
    host.activate(&two, &ONLY, "test").await.unwrap();
    host.record_by(Box::new(|_| Box::pin(std::future::pending())));
    let begun = Instant::now();
    let refused = host.activate(&one, &ONLY, "test").await.unwrap_err();
    assert!(matches!(refused, LifeError::Audit(RecordError::Late)), "{refused}");
    assert_eq!(host.standing().await.key_stores[0].activation, 2);
    let back = host.roll_back_failed(&failed(2)).await.unwrap().unwrap();
    assert_eq!(back.changes[0].artefact.as_ref(), Some(&one), "a failing policy doesn't stay for that");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_that_works_again_has_what_was_told_in_its_order() {
    let room = Room::new();
    let one = room.stage(1, None);
    let host = room.host(TrustedKeys::default(), true).await;
    let (told, mut tells) = mpsc::unbounded_channel();
    let stuck = Arc::new(tokio::sync::Semaphore::new(0));
    let of_log = stuck.clone();
    host.record_by(Box::new(move |record| {
        let (stuck, told) = (of_log.clone(), told.clone());
        Box::pin(async move {
            let _next = stuck.acquire().await;
            told.send(record).unwrap();
            Ok(())
        })
    }));
    host.activate(&one, &ONLY, "test").await.unwrap_err();
    stuck.add_permits(1);
    assert!(matches!(tells.recv().await, Some(Told::Coming(_))));
    assert!(matches!(tells.recv().await, Some(Told::NotMade { .. })));
}
