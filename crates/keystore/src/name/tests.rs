use super::*;
use crate::fixtures::Dry;

#[test]
fn key_ids_have_the_specifications_alphabet_and_length() {
    for good in ["a", "A-z_0.9", "...", ".hidden", &"k".repeat(128)] {
        assert_eq!(KeyId::parse(good).unwrap().as_str(), good);
    }
    for bad in ["", "a/b", "a b", "a%2e", "schlüssel", "a\0", &"k".repeat(129)] {
        assert!(KeyId::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn dot_segments_are_no_key_ids() {
    assert_eq!(KeyId::parse("."), Err(NameError::Dots));
    assert_eq!(KeyId::parse(".."), Err(NameError::Dots));
}

#[test]
fn key_store_names_have_no_dots() {
    assert!(KeyStoreName::parse("eu-1_main").is_ok());
    assert!(KeyStoreName::parse("a.b").is_err());
    assert!(KeyStoreName::parse(&"k".repeat(65)).is_err());
}

#[test]
fn credentials_have_the_specifications_alphabet_and_length() {
    for (text, good) in [("A".repeat(19), false), ("A7".repeat(10), true), ("A".repeat(30), true)] {
        assert_eq!(AccessKeyId::parse(&text).is_ok(), good, "{text}");
    }
    for text in ["A".repeat(31), "a".repeat(20), "1".repeat(20), "8".repeat(20)] {
        assert!(AccessKeyId::parse(&text).is_err(), "{text}");
    }
    for (text, good) in [("a".repeat(42), false), ("aZ9/+=".repeat(8), true), ("a".repeat(64), true)] {
        assert_eq!(SecretAccessKey::parse(text.as_bytes()).is_ok(), good, "{text}");
    }
    assert!(SecretAccessKey::parse(&[b'-'; 43]).is_err());
    assert!(SecretAccessKey::parse(&[b'a'; 65]).is_err());
}

#[test]
fn errors_say_where_and_what_is_allowed() {
    assert_eq!(
        KeyId::parse("demo/1").unwrap_err().to_string(),
        "a key id with a character that isn't allowed at position 5; it has 1 to 128 of A-Z a-z 0-9 - . _"
    );
    assert_eq!(
        AccessKeyId::parse("AAA").unwrap_err().to_string(),
        "an access key id of 3 characters; it has 20 to 30 of A-Z 2-7"
    );
}

#[test]
fn a_secret_access_key_is_never_shown() {
    let secret = SecretAccessKey::parse(&[b'q'; 43]).unwrap();
    assert!(!format!("{secret:?}").contains('q'));
    let error = SecretAccessKey::parse(b"hunter2-hunter2").unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter"));
}

#[test]
fn generated_credentials_are_valid_and_differ() {
    let random = &mut crate::SystemRandom;
    let ids: Vec<AccessKeyId> = (0..100).map(|_| AccessKeyId::generate(random).unwrap()).collect();
    assert!(ids.iter().all(|id| AccessKeyId::parse(id.as_str()).is_ok()));
    let secrets: Vec<SecretAccessKey> =
        (0..100).map(|_| SecretAccessKey::generate(random).unwrap()).collect();
    assert!(secrets.iter().all(|secret| SecretAccessKey::parse(secret.expose()).is_ok()));
    assert_ne!(ids[0], ids[1]);
    assert_ne!(secrets[0], secrets[1]);
}

#[test]
fn no_randomness_makes_no_credential() {
    assert!(AccessKeyId::generate(&mut Dry).is_err());
    assert!(SecretAccessKey::generate(&mut Dry).is_err());
}
