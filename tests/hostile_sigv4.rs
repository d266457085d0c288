//! What a hostile authenticator cannot do (`tests/hostile/sigv4`): admit a request that nobody signed, or harm another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "hostile/expect.rs"]
mod expect;

use expect::{BUDGET, Suspect, honest, honest_beside, timed};
use holdfast_tests::{HandMade, Host, Reply, Setup, encrypt_body, hostile};
use std::time::{Duration, SystemTime};

fn host() -> Host {
    Setup::new().limit("budget", BUDGET).component("sigv4", hostile("sigv4")).start()
}

/// A well signed request that tells the component what to do.
fn request(host: &Host, name: &str) -> HandMade {
    let mut request = HandMade::new(host, "/keys/demo/encrypt", encrypt_body("plaintext"));
    request.set("x-hostile", name);
    request.set("x-hostile-id", &host.credential().access_key_id);
    request.set("x-hostile-region", "us-east-1");
    request.sign()
}

#[track_caller]
fn reply(host: &Host, request: &HandMade) -> Reply {
    timed(host, request.bytes()).0
}

/// Every lie that the component knows.
const LIES: [&str; 13] = [
    "invented",
    "other-id",
    "other-signature",
    "other-region",
    "other-service",
    "other-date",
    "fewer-headers",
    "no-headers",
    "same-headers-twice",
    "line-breaks",
    "upper-case",
    "empty",
    "other-header",
];

#[test]
fn an_authenticator_that_fails_refuses_its_own_request_only() {
    let mut host = host();
    let pid = host.pid();
    let suspect = Suspect::new(&host, "sigv4", &hostile("sigv4"));
    for (name, kind) in [
        ("trap", "trap"),
        ("loop", "time"),
        ("recurse", "stack"),
        ("overflow", "trap"),
        ("allocate", "memory"),
        ("large", "output"),
        ("vast", "memory"),
        ("vast-lie", "trap"),
        ("not-utf8", "trap"),
    ] {
        suspect.fails_closed(name, kind, request(&host, name).bytes());
    }
    assert_eq!(host.pid(), pid);
    host.assert_running();
}

#[test]
fn what_an_authenticator_claims_wrongly_of_a_good_request_refuses_it() {
    let host = host();
    for name in
        LIES.into_iter().filter(|name| !matches!(*name, "other-id" | "other-header")).chain(["refuse"])
    {
        reply(&host, &request(&host, name)).refused(401, "AuthenticationFailedException");
    }
    let mut other = request(&host, "other-id");
    other.set("x-hostile-id", "ABCDEFGHIJKLMNOPQRST");
    reply(&host, &other).refused(401, "AuthenticationFailedException");
    // Without a lie the same request is a good one.
    reply(&host, &request(&host, "nothing")).ok();
}

#[test]
fn no_lie_admits_a_request_that_was_not_signed_as_it_is() {
    let host = Setup::new()
        .limit("budget", BUDGET)
        .key_store("second", "/second")
        .component("sigv4", hostile("sigv4"))
        .start();
    type Forgery<'a> = (&'a str, &'a dyn Fn(&mut HandMade));
    let forgeries: [Forgery<'_>; 9] = [
        ("no authorization", &|request| request.remove("authorization")),
        ("another authorization", &|request| request.set("authorization", "Bearer x")),
        ("two authorizations", &|request| {
            let value = request.header("authorization").to_owned();
            request.headers.push(("authorization".into(), value));
        }),
        ("an altered body", &|request| request.body = encrypt_body("other").to_string().into_bytes()),
        ("another path", &|request| request.path = request.path.replace("encrypt", "decrypt")),
        ("another key store's path", &|request| request.path = request.path.replace("/demo/", "/second/")),
        ("an altered signed header", &|request| request.set("content-type", "text/plain")),
        ("another date", &|request| {
            let now = holdfast_tests::amz_date(SystemTime::now() + Duration::from_secs(1));
            request.set("x-amz-date", &now);
        }),
        ("a made-up signature", &|request| {
            let value = request.header("authorization").to_owned();
            let at = value.len() - 64;
            request.set("authorization", &format!("{}{}", &value[..at], "0".repeat(64)));
        }),
    ];
    for (forgery, forge) in forgeries {
        for lie in LIES.into_iter().chain(["nothing", "refuse"]) {
            let mut request = request(&host, lie);
            let signed = request.header("authorization").to_owned();
            request.set("x-claim", &signed);
            forge(&mut request);
            // The claim of `x-claim` is of this very request, signed by a credential: it may be what admits it.
            if (forgery, lie) == ("another authorization", "other-header")
                || (forgery, lie) == ("a made-up signature", "other-header")
            {
                reply(&host, &request).ok();
                continue;
            }
            let reply = reply(&host, &request);
            assert_eq!(reply.status, 401, "{forgery}, {lie}: {}", reply.text());
        }
    }
    assert!(host.audit_records().iter().all(|record| record["status"] == 200), "{}", host.audit_text());
}

#[test]
fn no_lie_makes_an_old_or_future_request_fresh() {
    let host = host();
    for away in [301 + 30, 3600, 86_400 * 7] {
        let away = Duration::from_secs(away);
        for time in [SystemTime::now() - away, SystemTime::now() + away] {
            for lie in LIES.into_iter().chain(["nothing"]) {
                let request = request(&host, lie).at(time).sign();
                reply(&host, &request).refused(401, "AuthenticationFailedException");
            }
        }
    }
}

#[test]
fn a_claim_of_another_key_stores_credential_does_not_admit() {
    let host = Setup::new()
        .limit("budget", BUDGET)
        .key_store("second", "/second")
        .component("sigv4", hostile("sigv4"))
        .start();
    for lie in LIES.into_iter().chain(["nothing"]) {
        let mut request = request(&host, lie);
        request.credential = host.credential_of("second").clone();
        for id in [host.credential(), host.credential_of("second")] {
            request.set("x-hostile-id", &id.access_key_id);
            reply(&host, &request.clone().sign()).refused(401, "AuthenticationFailedException");
        }
    }
}

#[test]
fn honest_requests_go_on_beside_authenticators_that_loop() {
    let mut host = host();
    let pid = host.pid();
    honest_beside(&host, 20, &|| request(&host, "loop").bytes(), &|| honest(&host), 100);
    assert_eq!(host.pid(), pid);
    host.assert_running();
}
