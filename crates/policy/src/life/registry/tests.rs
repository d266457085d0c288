use crate::life::registry::*;

fn staged(artefact: &str) -> Staged {
    Staged {
        artefact: artefact.to_owned(),
        name: None,
        signer: None,
        engine: "test".to_owned(),
        rules: 1,
        time: 1,
        by: "test".to_owned(),
    }
}

fn activate(state: &mut State, artefact: Option<&str>) -> u64 {
    state.activate("demo", artefact, 1, "test", Cause::Activate)
}

#[test]
fn what_was_changed_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("policies");
    let mut registry = Registry::open(&folder).unwrap();
    assert_eq!(registry.state(), &State::default());
    assert!(!folder.exists(), "nothing is made before there is something to keep");
    let number = registry.change(|state| activate(state, Some("a"))).unwrap();
    assert_eq!(number, 1);
    assert_eq!(registry.change(|state| activate(state, None)).unwrap(), 2);
    let again = Registry::open(&folder).unwrap();
    assert_eq!(again.state(), registry.state());
    assert_eq!(again.state().active("demo").unwrap().artefact, None);
}

#[test]
fn a_damaged_state_and_a_folder_of_others_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("policies");
    Registry::open(&folder).unwrap().change(|state| activate(state, Some("a"))).unwrap();
    let path = folder.join("state.json");
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(matches!(Registry::open(&folder), Err(RegistryError::Damaged { .. })));
    std::fs::write(&path, String::from_utf8(text).unwrap().replace("\"schema\": 1", "\"schema\": 2"))
        .unwrap();
    assert!(matches!(Registry::open(&folder), Err(RegistryError::Damaged { .. })));
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(Registry::open(&folder), Err(RegistryError::NotPrivate(_))));
}

#[test]
fn one_goes_back_to_what_was_in_force_before_and_did_not_fail() {
    let mut state = State::default();
    assert_eq!(state.before("demo", |_| true), None);
    activate(&mut state, Some("a"));
    assert_eq!(state.before("demo", |_| true), Some(None), "the configuration's policy");
    activate(&mut state, Some("b"));
    assert_eq!(state.before("demo", |_| true), Some(Some("a".to_owned())));
    activate(&mut state, Some("b"));
    assert_eq!(
        state.before("demo", |_| true),
        Some(Some("a".to_owned())),
        "the same again is nothing to go back to"
    );
    state.key_stores.get_mut("demo").unwrap().activations[0].failed = Some("it failed".to_owned());
    assert_eq!(state.before("demo", |_| true), Some(None), "what failed is left out");
    activate(&mut state, None);
    assert_eq!(state.before("demo", |_| true), Some(Some("b".to_owned())));
}

#[test]
fn artefacts_in_use_stay_and_the_oldest_others_go() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("policies");
    let mut registry = Registry::open(&folder).unwrap();
    for number in 0..STAGED + 3 {
        let digest = number.to_string();
        let mut incoming = registry.receive().unwrap();
        incoming.write(b"content").unwrap();
        registry.keep(incoming, &digest).unwrap();
        registry.change(|state| state.staged.push(staged(&digest))).unwrap();
        if number == 1 {
            registry.change(|state| activate(state, Some("1"))).unwrap();
        }
    }
    let kept: Vec<&str> = registry.state().staged.iter().map(|staged| staged.artefact.as_str()).collect();
    assert_eq!(kept.len(), STAGED + 1);
    assert_eq!(kept[..2], ["1", "3"]);
    assert!(registry.artefact_path("1").exists() && registry.artefact_path("3").exists());
    assert!(!registry.artefact_path("0").exists() && !registry.artefact_path("2").exists());
    assert!(matches!(registry.read("1"), Err(RegistryError::Lost { .. })), "it isn't what its name says");
}

#[test]
fn what_is_staged_last_stays_however_many_are_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let mut registry = Registry::open(&folder.path().join("policies")).unwrap();
    for number in 0..STAGED + 3 {
        let digest = number.to_string();
        let change = |state: &mut State| {
            state.staged.push(staged(&digest));
            state.activate(&format!("store-{number}"), Some(&digest), 1, "test", Cause::Activate);
        };
        registry.change(change).unwrap();
    }
    registry.change(|state| state.staged.push(staged("new"))).unwrap();
    assert!(registry.state().staged("new").is_some());
    assert_eq!(registry.state().staged.len(), STAGED + 4);
}

#[test]
fn what_one_would_go_back_to_stays_however_long_ago_it_decided() {
    let folder = tempfile::tempdir().unwrap();
    let mut registry = Registry::open(&folder.path().join("policies")).unwrap();
    let stage = |state: &mut State, digest: &str| state.staged.push(staged(digest));
    registry
        .change(|state| {
            stage(state, "good");
            stage(state, "bad");
            activate(state, Some("good"));
            for _ in 0..KEPT {
                activate(state, Some("bad"));
            }
        })
        .unwrap();
    for number in 0..=STAGED {
        registry.change(|state| stage(state, &number.to_string())).unwrap();
    }
    assert_eq!(registry.state().before("demo", |_| true), Some(Some("good".to_owned())));
    assert!(registry.state().staged("good").is_some() && registry.state().staged("0").is_none());
}

#[test]
fn what_may_not_decide_is_nothing_to_go_back_to() {
    let mut state = State::default();
    for artefact in ["a", "b", "c"] {
        activate(&mut state, Some(artefact));
    }
    assert_eq!(state.before("demo", |artefact| artefact != "b"), Some(Some("a".to_owned())));
    assert_eq!(state.before("demo", |_| false), Some(None), "the configuration's policy");
}

#[test]
fn what_a_kill_left_behind_goes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("policies");
    let mut registry = Registry::open(&folder).unwrap();
    registry.change(|state| state.staged.push(staged("known"))).unwrap();
    for name in ["known.wasm", "unknown.wasm", "1-1.incoming", "notes.txt"] {
        std::fs::write(folder.join("artefacts").join(name), "content").unwrap();
    }
    Registry::open(&folder).unwrap();
    let there = |name: &str| folder.join("artefacts").join(name).exists();
    assert!(there("known.wasm") && there("notes.txt"));
    assert!(!there("unknown.wasm") && !there("1-1.incoming"));
}

#[test]
fn what_is_received_and_not_kept_goes() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(&folder.path().join("policies")).unwrap();
    let incoming = registry.receive().unwrap();
    let path = incoming.path().to_owned();
    assert!(path.exists());
    drop(incoming);
    assert!(!path.exists());
}
