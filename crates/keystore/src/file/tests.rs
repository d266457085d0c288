use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::fixtures::{contents, id, key_file, passphrase, store};
use crate::{Status, Usage};

fn new_file() -> (TempDir, KeystoreFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = KeystoreFile::at(folder.path().join("keys"));
    file.create(&key_file(1), &contents()).unwrap();
    (folder, file)
}

fn add_key(file: &KeystoreFile, name: &str) -> Result<Info, FileError> {
    let add = |c: &mut Contents| c.create_key(&store("main"), &id(name), Usage::BOTH, 0, &mut SystemRandom);
    file.update(&key_file(1), add).map(|(_, info)| info)
}

fn destroy(file: &KeystoreFile, name: &str) -> Result<Info, FileError> {
    file.update(&key_file(1), |c| c.destroy_key(&store("main"), &id(name))).map(|(_, info)| info)
}

fn has_key(file: &KeystoreFile, name: &str) -> bool {
    file.open(&key_file(1)).unwrap().contents.key_store("main").unwrap().key(name).is_some()
}

fn previous(file: &KeystoreFile) -> KeystoreFile {
    KeystoreFile::at(file.previous_path())
}

fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn create_never_overwrites() {
    let (_folder, file) = new_file();
    let before = fs::read(file.path()).unwrap();
    assert!(matches!(file.create(&key_file(2), &Contents::new()), Err(FileError::Exists { .. })));
    assert_eq!(fs::read(file.path()).unwrap(), before);
}

#[test]
fn a_new_file_is_for_nobody_else() {
    let (folder, file) = new_file();
    add_key(&file, "k").unwrap();
    for name in names(&folder) {
        let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(names(&folder), ["keys", "keys.lock", "keys.previous"]);
}

#[test]
fn a_change_keeps_the_permissions_and_the_symbolic_link() {
    let (folder, file) = new_file();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.path().join("link");
    symlink("keys", &link).unwrap();
    add_key(&KeystoreFile::at(&link), "k").unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(has_key(&file, "k"));
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn each_change_is_a_generation_and_keeps_the_one_before() {
    let (_folder, file) = new_file();
    assert_eq!(file.info().unwrap().generation, 1);
    assert_eq!(add_key(&file, "a").unwrap().generation, 2);
    assert_eq!(add_key(&file, "b").unwrap().generation, 3);
    assert!(has_key(&file, "b"));
    assert!(has_key(&previous(&file), "a") && !has_key(&previous(&file), "b"));
    assert_eq!(file.info().unwrap(), file.open(&key_file(1)).unwrap().info);
}

#[test]
fn a_change_that_fails_writes_nothing() {
    let (_folder, file) = new_file();
    let before = fs::read(file.path()).unwrap();
    assert!(matches!(destroy(&file, "none"), Err(FileError::Change(ContentsError::NoKey(..)))));
    assert_eq!(fs::read(file.path()).unwrap(), before);
}

#[test]
fn concurrent_changes_lose_nothing() {
    let (_folder, file) = new_file();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let file = &file;
            scope.spawn(move || (0..5).for_each(|n| drop(add_key(file, &format!("k{thread}-{n}")).unwrap())));
        }
    });
    assert_eq!(file.open(&key_file(1)).unwrap().contents.key_store("main").unwrap().keys().len(), 21);
    assert_eq!(file.info().unwrap().generation, 21);
}

#[test]
fn a_destroyed_key_is_in_neither_generation() {
    let (_folder, file) = new_file();
    add_key(&file, "k").unwrap();
    let info = destroy(&file, "demo").unwrap();
    assert_eq!((info.generation, info.erasing), (4, false));
    for file in [&file, &previous(&file)] {
        assert!(!has_key(file, "demo") && has_key(file, "k"));
    }
}

#[test]
fn a_crash_at_any_step_of_a_change_leaves_the_state_before_or_after() {
    for steps in 0..5 {
        let (_folder, file) = new_file();
        add_key(&file, "first").unwrap();
        disk::crash_at(Some(steps));
        assert!(add_key(&file, "k").is_err(), "there are more than {steps} steps");
        disk::crash_at(None);
        assert!(has_key(&file, "first"));
        assert!(has_key(&previous(&file), "demo"));
        // And the next change finds nothing in its way.
        assert_eq!(has_key(&file, "k"), steps == 4);
        add_key(&file, "next").unwrap();
        assert!(has_key(&file, "next") && has_key(&previous(&file), "first"));
    }
}

#[test]
fn a_crash_in_an_erasure_is_told_and_finished_by_the_next_change() {
    for steps in 5..10 {
        let (_folder, file) = new_file();
        add_key(&file, "k").unwrap();
        disk::crash_at(Some(steps));
        assert!(destroy(&file, "demo").is_err(), "there are more than {steps} steps");
        disk::crash_at(None);
        assert!(!has_key(&file, "demo"));
        assert_eq!(file.info().unwrap().erasing, steps < 9);
        assert_eq!(has_key(&previous(&file), "demo"), steps < 8, "{steps}");
        file.update(&key_file(1), |_| Ok(())).unwrap();
        assert!(!file.info().unwrap().erasing);
        assert!(!has_key(&file, "demo") && !has_key(&previous(&file), "demo"));
    }
}

#[test]
fn the_old_seal_opens_neither_generation_after_a_reseal() {
    let (_folder, file) = new_file();
    add_key(&file, "k").unwrap();
    let new = passphrase("correct horse");
    let info = file.reseal(&key_file(1), &new).unwrap();
    assert_eq!((info.generation, info.seal.kind()), (4, crate::SealKind::Passphrase));
    for file in [&file, &previous(&file)] {
        assert!(matches!(file.open(&key_file(1)), Err(FileError::Open { .. })));
        assert!(file.open(&new).unwrap().contents.key_store("main").unwrap().key("k").is_some());
    }
}

#[test]
fn resealing_with_the_same_passphrase_takes_a_new_salt() {
    let (_folder, file) = new_file();
    let seal = passphrase("correct horse");
    file.reseal(&key_file(1), &seal).unwrap();
    let before = file.info().unwrap();
    file.update(&seal, |_| Ok(())).unwrap();
    assert_eq!(file.info().unwrap().seal, before.seal);
    file.reseal(&seal, &seal).unwrap();
    assert_ne!(file.info().unwrap().seal, before.seal);
}

#[test]
fn a_reload_takes_only_what_is_newer() {
    let (folder, file) = new_file();
    let seal = key_file(1);
    let old = folder.path().join("old");
    file.backup(&old).unwrap();
    let mut held = file.open(&seal).unwrap();
    assert!(!file.reload(&seal, &mut held).unwrap());

    add_key(&file, "k").unwrap();
    assert!(file.reload(&seal, &mut held).unwrap());
    assert!(held.contents.key_store("main").unwrap().key("k").is_some());

    let mine = held.clone();
    fs::copy(&old, file.path()).unwrap();
    let refused = file.reload(&seal, &mut held).unwrap_err();
    assert!(matches!(refused, FileError::Refused { source: Refusal::Rollback { known: 2, found: 1 }, .. }));
    add_key(&file, "other").unwrap();
    let refused = file.reload(&seal, &mut held).unwrap_err();
    assert!(matches!(refused, FileError::Refused { source: Refusal::Forked { generation: 2 }, .. }));
    fs::remove_file(file.path()).unwrap();
    file.create(&seal, &contents()).unwrap();
    let refused = file.reload(&seal, &mut held).unwrap_err();
    assert!(matches!(refused, FileError::Refused { source: Refusal::OtherKeystore { .. }, .. }));
    assert_eq!(held, mine);
}

#[test]
fn an_anchor_from_elsewhere_refuses_an_old_file() {
    let (_folder, file) = new_file();
    let anchor = add_key(&file, "k").unwrap().anchor();
    file.open_from(&key_file(1), &anchor).unwrap();
    fs::rename(file.previous_path(), file.path()).unwrap();
    assert!(matches!(file.open_from(&key_file(1), &anchor), Err(FileError::Refused { .. })));
}

#[test]
fn a_backup_never_overwrites_and_never_copies_damage() {
    let (folder, file) = new_file();
    let to = folder.path().join("backup");
    file.backup(&to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), fs::read(file.path()).unwrap());
    assert!(matches!(file.backup(&to), Err(FileError::Exists { .. })));
    damage(file.path());
    assert!(matches!(file.backup(&folder.path().join("second")), Err(FileError::Open { .. })));
    assert!(!folder.path().join("second").exists());
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_restored_backup_is_the_newest_generation_and_the_replaced_file_is_kept() {
    let (folder, file) = new_file();
    let seal = key_file(1);
    let backup = folder.path().join("backup");
    file.backup(&backup).unwrap();
    add_key(&file, "later").unwrap();
    let mut held = file.open(&seal).unwrap();

    let restored = file.restore(&backup, &seal, &seal).unwrap();
    assert_eq!(restored.info.generation, 3);
    assert!(!has_key(&file, "later"));
    assert!(has_key(&KeystoreFile::at(restored.replaced.unwrap()), "later"));
    assert!(file.reload(&seal, &mut held).unwrap());

    let again = file.restore(&backup, &seal, &passphrase("new")).unwrap();
    assert_eq!(again.replaced.unwrap(), disk::beside(&fs::canonicalize(file.path()).unwrap(), "replaced-2"));
    assert!(file.open(&passphrase("new")).is_ok());
}

#[test]
fn a_damaged_file_is_restored_from_its_previous_generation() {
    let (_folder, file) = new_file();
    add_key(&file, "a").unwrap();
    add_key(&file, "b").unwrap();
    let mut held = file.open(&key_file(1)).unwrap();
    damage(file.path());
    let damaged = fs::read(file.path()).unwrap();
    assert!(matches!(file.open(&key_file(1)), Err(FileError::Open { source: OpenError::Damaged(_), .. })));
    assert!(matches!(add_key(&file, "c"), Err(FileError::Open { .. })));
    assert!(!file.info().unwrap().checksum_ok);

    let restored = file.restore(&file.previous_path(), &key_file(1), &key_file(1)).unwrap();
    assert_eq!(fs::read(restored.replaced.unwrap()).unwrap(), damaged);
    assert!(has_key(&file, "a") && has_key(&previous(&file), "a"));
    assert!(file.reload(&key_file(1), &mut held).unwrap(), "newer than what a host holds");
}

#[test]
fn a_lost_file_is_restored_and_another_keystores_backup_is_refused() {
    let (folder, file) = new_file();
    let backup = folder.path().join("backup");
    file.backup(&backup).unwrap();
    fs::remove_file(file.path()).unwrap();
    let restored = file.restore(&backup, &key_file(1), &key_file(1)).unwrap();
    assert_eq!((restored.replaced, restored.info.generation), (None, 3));

    let (_folder, other) = new_file();
    let refused = other.restore(&backup, &key_file(1), &key_file(1)).unwrap_err();
    assert!(matches!(refused, FileError::Refused { source: Refusal::OtherKeystore { .. }, .. }));
}

#[test]
fn something_huge_is_not_read() {
    let (_folder, file) = new_file();
    fs::OpenOptions::new().write(true).open(file.path()).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(file.open(&key_file(1)), Err(FileError::TooLarge { .. })));
}

#[test]
fn errors_name_the_file_and_what_to_do() {
    let (_folder, file) = new_file();
    let path = file.path().display();
    let error = file.open(&key_file(2)).unwrap_err().to_string();
    assert_eq!(error, format!("{path}: it is intact, and this is the wrong key-file for it"));
    damage(file.path());
    let error = file.open(&key_file(1)).unwrap_err().to_string();
    assert!(error.contains("restore a backup"), "{error}");
    let missing = KeystoreFile::at("/nonexistent/keys");
    assert_eq!(
        missing.open(&key_file(1)).unwrap_err().to_string(),
        "can't read /nonexistent/keys: No such file or directory (os error 2)"
    );
}

#[test]
fn a_disabled_key_stays_disabled_in_the_file() {
    let (_folder, file) = new_file();
    file.update(&key_file(1), |c| c.set_key_status(&store("main"), &id("demo"), Status::Disabled)).unwrap();
    let opened = file.open(&key_file(1)).unwrap();
    assert_eq!(opened.contents.key_store("main").unwrap().key("demo").unwrap().status(), Status::Disabled);
}
