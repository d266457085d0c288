//! Request targets: one spelling, and no other.

use holdfast_tests::{HandMade, Setup};

use crate::watched::{Expect, NO_SUCH_PATH, UNAUTHENTICATED, VALIDATION, Watched, replaced};

const PATH: &str = "/demo/kms/xks/v1/keys/demo/encrypt";

#[test]
fn t2_no_other_spelling_of_a_path_is_taken_though_it_is_signed() {
    let mut watched = Watched::start(Setup::new().limit("budget", "2s").key("a.b", "encrypt,decrypt"));
    let long = format!("/demo/kms/xks/v1/keys/{}/encrypt", "k".repeat(240));
    for path in [
        "/demo/kms/xks/v1/keys%2fdemo/encrypt",
        "/demo/kms/xks/v1/keys/demo%2Fencrypt",
        "/demo/kms/xks/v1/keys/dem%6f/encrypt",
        "/demo/kms/xks/v1/keys/..%2fdemo/encrypt",
        "/demo/kms/xks/v1/keys/%00/encrypt",
        "/demo//kms/xks/v1/keys/demo/encrypt",
        "//demo/kms/xks/v1/keys/demo/encrypt",
        "/demo/kms/xks/v1/keys//encrypt",
        "/demo/kms/xks/v1/keys/demo//encrypt",
        "/demo/kms/xks/v1/keys/demo/encrypt/",
        "/demo/kms/xks/v1/keys/./encrypt",
        "/demo/kms/xks/v1/keys/../encrypt",
        "/demo/./kms/xks/v1/keys/demo/encrypt",
        "/x/../demo/kms/xks/v1/keys/demo/encrypt",
        "/demo/kms/xks/v1/keys/demo/encrypt?",
        "/demo/kms/xks/v1/keys/demo/encrypt?a=b",
        "/demo/kms/xks/v1/keys/demo/encrypt;a",
        "/demo/kms/xks/v1/keys/demo\\/encrypt",
        "/demo/kms/xks/v1/keys/d\u{e9}mo/encrypt",
        "/demo/kms/xks/v1/keys/demo/encrypt/metadata",
        "/demo/kms/xks/v1/keys/demo/rewrap",
        "/demo/kms/xks/v1/keys/demo",
        "/demo/kms/xks/v1/keys",
        "/demo/kms/xks/v1/",
        "/demo/kms/xks/v1",
        "/demo/kms/xks/v2/keys/demo/encrypt",
        "/Demo/kms/xks/v1/keys/demo/encrypt",
        "/other/kms/xks/v1/keys/demo/encrypt",
        "/kms/xks/v1/keys/demo/encrypt",
        "/demo/kms/xks/v1/kms/xks/v1/keys/demo/encrypt",
        "/",
        &long,
    ] {
        let request = HandMade { path: path.into(), ..watched.encrypt() };
        watched.case(path, &request.sign().bytes(), &[NO_SUCH_PATH]);
    }
    for path in [
        "demo/kms/xks/v1/health",
        "/demo/kms/xks/v1/keys/de mo/encrypt",
        "/demo/kms/xks/v1/keys/de\x7fmo/encrypt",
        "",
        "/\x01",
    ] {
        let request = HandMade { path: path.into(), ..watched.encrypt() };
        watched.last_case(path, &request.sign().bytes(), &[VALIDATION]);
    }
    let bytes = replaced(&watched.encrypt().bytes(), "/keys/demo", b"/keys/d\xe9mo");
    watched.last_case("a byte that is no UTF-8", &bytes, &[VALIDATION]);
    watched.is_unharmed();
}

#[test]
fn t2_absolute_authority_and_asterisk_forms_are_refused() {
    let mut watched = Watched::patient();
    let authority = watched.host.authority();
    let good = watched.encrypt().bytes();
    for target in [format!("http://{authority}{PATH}"), format!("https://other{PATH}"), authority, "*".into()]
    {
        watched.case(&target, &replaced(&good, PATH, &target), &[NO_SUCH_PATH]);
        let request = HandMade { path: target.clone(), ..watched.encrypt() };
        watched.case(&format!("{target}, signed"), &request.sign().bytes(), &[NO_SUCH_PATH]);
    }
    watched.is_unharmed();
}

/// A fragment never travels (RFC 9112, section 3.2). hyper's parser takes it off: what is left is what is signed,
/// routed and recorded.
#[test]
fn a2_a_fragment_is_no_part_of_the_path_that_is_signed() {
    let mut watched = Watched::patient();
    let with = format!("{PATH}#fragment");
    let signed = HandMade { path: with.clone(), ..watched.encrypt() };
    watched.case("signed with it", &signed.sign().bytes(), &[UNAUTHENTICATED]);
    let good = watched.encrypt().bytes();
    watched.case("signed without it", &replaced(&good, PATH, with), &[Expect::Works]);
    watched.is_unharmed();
}

#[test]
fn a2_a_request_for_one_path_is_not_taken_at_another() {
    let mut watched = Watched::start(Setup::new().limit("budget", "2s").key("other", "encrypt,decrypt"));
    let good = watched.encrypt().bytes();
    watched.case("another key", &replaced(&good, "/keys/demo/", "/keys/other/"), &[UNAUTHENTICATED]);
    watched.case("another operation", &replaced(&good, "/encrypt", "/decrypt"), &[UNAUTHENTICATED]);
    watched.case("an unknown key", &replaced(&good, "/keys/demo/", "/keys/nope/"), &[UNAUTHENTICATED]);
    watched.is_unharmed();
}
