use super::*;
use std::thread;

fn token(serial: &str) -> TokenInfo {
    TokenInfo { serial: serial.into(), ..TokenInfo::default() }
}

fn enter(ledger: &PinLedger, serial: &str, pin: &[u8]) -> Standing {
    ledger.enter(&token(serial), &Secret::copy_from(pin), false, false).unwrap()
}

#[test]
fn a_refused_pin_is_known_after_a_restart_and_only_for_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = PinLedger::of(&token("A"), folder.path());
    let Standing::Try(entry) = enter(&ledger, "A", b"1111") else { panic!("it wasn't tried") };
    ledger.refuse(&entry).unwrap();
    let again = PinLedger::of(&token("A"), folder.path());
    assert_eq!(enter(&again, "A", b"1111"), Standing::Refused);
    assert!(matches!(enter(&again, "A", b"2222"), Standing::Try(_)));
    assert!(matches!(enter(&again, "B", b"1111"), Standing::Try(_)));
    assert!(!fs::read_to_string(ledger.path()).unwrap().contains("1111"));
}

#[test]
fn each_token_has_a_ledger_of_its_own_by_all_that_it_says_it_is() {
    let folder = Path::new("/pins");
    let info = |manufacturer: &str, model: &str, serial: &str, label: &str| TokenInfo {
        manufacturer: manufacturer.into(),
        model: model.into(),
        serial: serial.into(),
        label: label.into(),
        ..TokenInfo::default()
    };
    let tokens = [
        info("maker", "model", "1", "label"),
        info("other", "model", "1", "label"),
        info("maker", "other", "1", "label"),
        info("maker", "model", "2", "label"),
        info("maker", "model", "1", "other"),
        info("makerm", "odel", "1", "label"),
        info("maker", "model", "1", "../label"),
    ];
    let paths: Vec<_> = tokens.iter().map(|token| PinLedger::of(token, folder).path).collect();
    for (index, path) in paths.iter().enumerate() {
        assert!(!paths[..index].contains(path), "{path:?}");
        assert_eq!(path.parent(), Some(folder));
    }
    let updated = TokenInfo { firmware: "2.0".into(), flags: 7, ..tokens[0].clone() };
    assert_eq!(PinLedger::of(&updated, folder).path, paths[0]);
}

#[test]
fn a_login_waits_for_another_that_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = PinLedger::of(&token("A"), folder.path());
    let trial = ledger.begin().unwrap();
    let Standing::Try(entry) = enter(&ledger, "A", b"2222") else { panic!("it wasn't tried") };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let _trial = ledger.begin().unwrap();
            enter(&ledger, "A", b"2222")
        });
        // Whether it waits already or not yet: it must not see the entry.
        ledger.withdraw(&entry).unwrap();
        drop(trial);
        assert!(matches!(other.join().unwrap(), Standing::Try(_)));
    });
}

#[test]
fn a_pin_that_was_not_judged_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = PinLedger::of(&token("A"), folder.path());
    let Standing::Try(entry) = enter(&ledger, "A", b"2222") else { panic!("it wasn't tried") };
    ledger.withdraw(&entry).unwrap();
    assert_eq!(fs::read(ledger.path()).unwrap(), b"");
    assert!(matches!(enter(&ledger, "A", b"2222"), Standing::Try(_)));
}

#[test]
fn a_try_that_was_cut_short_is_repeated_only_where_the_token_accepted_the_pin_before() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = PinLedger::of(&token("A"), folder.path());
    assert!(matches!(enter(&ledger, "A", b"1111"), Standing::Try(_)));
    assert_eq!(enter(&ledger, "A", b"1111"), Standing::Unended);
    let pin = Secret::copy_from(b"1111");
    let Standing::Try(entry) = ledger.enter(&token("A"), &pin, true, false).unwrap() else {
        panic!("not tried")
    };
    ledger.refuse(&entry).unwrap();
    assert_eq!(ledger.enter(&token("A"), &pin, true, true).unwrap(), Standing::Refused);
}

#[test]
fn a_try_that_was_cut_short_is_repeated_where_no_try_was_lost_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let pin = Secret::copy_from(b"1111");
    let enter = |unspent| {
        let ledger = PinLedger::of(&token("A"), folder.path());
        ledger.enter(&token("A"), &pin, false, unspent).unwrap()
    };
    for _ in 0..TRIES {
        assert!(matches!(enter(true), Standing::Try(_)));
        assert_eq!(enter(false), Standing::Unended);
    }
    assert_eq!(enter(true), Standing::Unended);
}

#[test]
fn what_was_accepted_is_known_after_a_restart_until_it_is_refused_and_by_one_byte_only() {
    let folder = tempfile::tempdir().unwrap();
    let tries = |pin: &[u8]| {
        let ledger = PinLedger::of(&token("A"), folder.path());
        match enter(&ledger, "A", pin) {
            Standing::Try(entry) => Ok((ledger, entry)),
            other => Err(other),
        }
    };
    let (ledger, entry) = tries(b"1111").unwrap();
    ledger.accept(&entry).unwrap();
    let text = fs::read_to_string(ledger.path()).unwrap();
    assert_eq!(text.split(' ').nth(1).unwrap()[2..], *"00".repeat(HASH_LEN - 1));
    // Cut short as often as you like, and not judged.
    for _ in 0..2 * TRIES {
        tries(b"1111").unwrap();
    }
    let (ledger, entry) = tries(b"1111").unwrap();
    ledger.withdraw(&entry).unwrap();
    let (ledger, entry) = tries(b"1111").unwrap();
    ledger.refuse(&entry).unwrap();
    assert_eq!(tries(b"1111").unwrap_err(), Standing::Refused);
}

#[test]
fn of_several_processes_one_tries() {
    let folder = tempfile::tempdir().unwrap();
    let tries = thread::scope(|scope| {
        let tries: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| enter(&PinLedger::of(&token("A"), folder.path()), "A", b"1111")))
            .collect();
        tries.into_iter().map(|it| it.join().unwrap()).filter(|it| matches!(it, Standing::Try(_))).count()
    });
    assert_eq!(tries, 1);
}

#[test]
fn a_damaged_ledger_lets_no_pin_be_tried() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = PinLedger::of(&token("A"), folder.path());
    fs::write(ledger.path(), "what").unwrap();
    assert!(ledger.enter(&token("A"), &Secret::copy_from(b"1"), true, true).is_err());
}
