use super::*;
use crate::fixtures::{Dry, access_key_id, contents, id, secret, store};

#[test]
fn an_access_key_id_belongs_to_one_secret_of_one_key_store() {
    let mut contents = contents();
    let taken = contents.add_credential(&store("other"), &access_key_id('A'), secret('b'), 0);
    assert!(matches!(taken, Err(ContentsError::AccessKeyIdInUse(_))));
    let taken = contents.add_credential(&store("main"), &access_key_id('A'), secret('b'), 0);
    assert!(matches!(taken, Err(ContentsError::AccessKeyIdInUse(_))));
}

#[test]
fn a_secret_belongs_to_one_access_key_id() {
    let taken = contents().add_credential(&store("other"), &access_key_id('B'), secret('a'), 0);
    assert!(matches!(taken, Err(ContentsError::SecretInUse(_))));
}

#[test]
fn a_key_store_takes_several_credentials() {
    let mut contents = contents();
    let made = contents.create_credential(&store("main"), 9, &mut crate::SystemRandom).unwrap();
    let main = contents.key_store("main").unwrap();
    assert_eq!(main.credentials().len(), 2);
    assert_eq!(main.credential(made.as_str()).unwrap().created(), 9);
    contents.remove_spare_credential(&store("main"), &made).unwrap();
    assert!(contents.key_store("main").unwrap().credential(made.as_str()).is_none());
    let last = contents.remove_spare_credential(&store("main"), &access_key_id('A'));
    assert!(matches!(last, Err(ContentsError::LastCredential(..))));
    assert!(matches!(
        contents.remove_spare_credential(&store("main"), &made),
        Err(ContentsError::NoCredential(..))
    ));
    contents.remove_credential(&store("main"), &access_key_id('A')).unwrap();
}

#[test]
fn nothing_is_made_twice_or_out_of_nothing() {
    let mut contents = contents();
    let random = &mut crate::SystemRandom;
    let before = contents.clone();
    let (main, demo, none) = (store("main"), id("demo"), store("none"));
    let key = contents.create_key(&main, &demo, Usage::BOTH, 0, random);
    assert!(matches!(key, Err(ContentsError::KeyExists(..))));
    assert!(matches!(contents.create_key_store(&main, 0, random), Err(ContentsError::KeyStoreExists(_))));
    assert!(matches!(
        contents.create_key(&none, &demo, Usage::BOTH, 0, random),
        Err(ContentsError::NoKeyStore(_))
    ));
    assert!(matches!(contents.rotate_key(&main, &id("x"), 0, random), Err(ContentsError::NoKey(..))));
    assert!(matches!(contents.destroy_key(&main, &id("x")), Err(ContentsError::NoKey(..))));
    assert!(matches!(contents.remove_key_store(&none), Err(ContentsError::NoKeyStore(_))));
    assert!(contents.create_key(&main, &id("new"), Usage::BOTH, 0, &mut Dry).is_err());
    assert!(contents.rotate_key(&main, &demo, 0, &mut Dry).is_err());
    assert_eq!(contents, before);
}

#[test]
fn rotation_counts_versions_up_and_encrypts_with_the_newest() {
    let mut contents = contents();
    let random = &mut crate::SystemRandom;
    assert_eq!(contents.rotate_key(&store("main"), &id("demo"), 10, random).unwrap(), 2);
    assert_eq!(contents.rotate_key(&store("main"), &id("demo"), 11, random).unwrap(), 3);
    let key = contents.key_store("main").unwrap().key("demo").unwrap();
    assert_eq!(key.versions().iter().map(Version::number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(key.encrypting_version().unwrap().created(), 11);
}

#[test]
fn an_imported_key_encrypts_only_after_rotation() {
    let mut contents = contents();
    let (main, key) = (store("main"), id("import"));
    assert!(matches!(
        contents.import_version(&main, &key, &[1; 16], 0),
        Err(ContentsError::MaterialLength(16))
    ));
    contents.import_version(&main, &key, &[1; 32], 0).unwrap();
    assert!(matches!(
        contents.set_key_usage(&main, &key, Usage::BOTH),
        Err(ContentsError::NothingToEncryptWith(_))
    ));
    contents.rotate_key(&main, &key, 0, &mut crate::SystemRandom).unwrap();
    contents.set_key_usage(&main, &key, Usage::BOTH).unwrap();
    assert_eq!(contents.key_store("main").unwrap().key("import").unwrap().usage(), Usage::BOTH);
}

#[test]
fn imported_versions_are_few() {
    let mut contents = contents();
    for _ in 0..MAX_IMPORTED_VERSIONS {
        contents.import_version(&store("main"), &id("demo"), &[1; 32], 0).unwrap();
    }
    let more = contents.import_version(&store("main"), &id("demo"), &[1; 32], 0);
    assert!(matches!(more, Err(ContentsError::TooMany { .. })));
}

#[test]
fn the_test_key_has_no_external_id() {
    let contents = contents();
    let main = contents.key_store("main").unwrap();
    assert_eq!(main.keys().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["demo"]);
    assert_eq!(main.test_key().usage(), Usage::BOTH);
}

#[test]
fn debug_shows_no_secret() {
    let text = format!("{:?}", contents());
    assert!(!text.contains("aaaa"), "{text}");
    assert!(!text.contains("7, 7"), "{text}");
}

#[test]
fn losing_any_secret_is_noticed() {
    let old = contents();
    let change = |change: &dyn Fn(&mut Contents)| {
        let mut new = old.clone();
        change(&mut new);
        new.lacks_a_secret_of(&old)
    };
    assert!(!change(&|c| c.set_key_status(&store("main"), &id("demo"), Status::Disabled).unwrap()));
    assert!(!change(&|c| assert!(
        c.rotate_key(&store("main"), &id("demo"), 0, &mut crate::SystemRandom).is_ok()
    )));
    assert!(change(&|c| c.destroy_key(&store("main"), &id("demo")).unwrap()));
    assert!(change(&|c| c.remove_credential(&store("main"), &access_key_id('A')).unwrap()));
    assert!(change(&|c| c.remove_key_store(&store("other")).unwrap()));
}
