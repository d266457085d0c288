//! Checklist, "Authentication": what a signature must cover, and what is refused. Credentials are in `credentials.rs`.

use std::time::{Duration, SystemTime};

use holdfast_tests::{HandMade, Host, Operation, Protocol, Reply, encrypt_body, metadata_body};

use crate::setup;

fn health(host: &Host) -> HandMade {
    HandMade::new(host, "/health", metadata_body("KmsHealthCheck"))
}

fn send(host: &Host, request: &HandMade) -> Reply {
    host.raw().exchange(request.bytes())
}

#[track_caller]
fn refused(host: &Host, request: &HandMade) -> String {
    let reply = send(host, request);
    reply.refused(401, "AuthenticationFailedException");
    reply.text()
}

#[test]
fn a1_three_clients_signatures_are_taken() {
    let host = setup().start();
    host.client().call(Operation::Encrypt, "demo", encrypt_body("by the aws-sigv4 crate")).ok();
    if let Some(reply) = host.curl("/keys/demo/encrypt", encrypt_body("by curl"), &[]) {
        reply.ok();
    }
    send(&host, &HandMade::new(&host, "/keys/demo/encrypt", encrypt_body("by hand")).sign()).ok();
}

#[test]
fn a1_host_and_date_must_be_signed() {
    let host = setup().start();
    for missing in ["host", "x-amz-date"] {
        let mut request = health(&host);
        request.signed.retain(|name| name != missing);
        refused(&host, &request.sign());
    }
    // The content type needn't be.
    let mut request = health(&host);
    request.signed.retain(|name| name != "content-type");
    send(&host, &request.sign()).ok();
}

#[test]
fn a1_extra_signed_headers_are_honoured() {
    let host = setup().start();
    let mut request = health(&host);
    request.set("x-amz-meta", "one");
    request.signed.push("x-amz-meta".into());
    let mut request = request.sign();
    send(&host, &request).ok();
    request.set("x-amz-meta", "two");
    refused(&host, &request);
    request.remove("x-amz-meta");
    refused(&host, &request);
    if let Some(reply) =
        host.curl("/health", metadata_body("KmsHealthCheck"), &["--header", "x-amz-meta: one"])
    {
        reply.ok();
    }
}

#[test]
fn a1_order_case_and_spacing_of_headers_are_as_sigv4_defines() {
    let host = setup().start();
    let mut request = health(&host);
    request.set("x-spaced", "  a   b  c ");
    request.signed.push("x-spaced".into());
    request.headers.reverse();
    let request = request.sign();
    send(&host, &request).ok();

    let mut upper = request.clone();
    for (name, _) in &mut upper.headers {
        *name = name.to_uppercase();
    }
    send(&host, &upper).ok();

    let mut spaced = request.clone();
    spaced.set("x-spaced", "a b c");
    send(&host, &spaced).ok();
    spaced.set("x-spaced", "ab c");
    refused(&host, &spaced);

    let mut tight = request.clone();
    tight.set("authorization", &request.header("authorization").replace(", ", ","));
    send(&host, &tight).ok();
}

#[test]
fn a1_signed_names_are_sorted_and_stand_once() {
    let host = setup().start();
    for signed in
        [vec!["x-amz-date", "host"], vec!["host", "host", "x-amz-date"], vec!["host", "x-amz-date", "x-none"]]
    {
        let mut request = health(&host);
        request.signed = signed.into_iter().map(str::to_owned).collect();
        refused(&host, &request.sign());
    }
    for name in ["host", "x-amz-date", "authorization"] {
        if name == "host" && crate::differs("Spin takes the first host") {
            continue;
        }
        let mut twice = health(&host).sign();
        let value = twice.header(name).to_owned();
        twice.headers.push((name.to_owned(), value));
        let reply = send(&host, &twice);
        assert!(matches!(reply.status, 400 | 401), "{name}: {}", reply.text());
    }
}

#[test]
fn a1_other_algorithms_are_refused() {
    let host = setup().start();
    let request = health(&host).sign();
    refused(&host, &health(&host));
    let authorization = request.header("authorization").to_owned();
    for other in [
        authorization.replace("SHA256", "SHA512"),
        authorization.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        authorization.replace("aws4_request", "aws5_request"),
        authorization.replace("AWS4-HMAC-SHA256 ", ""),
        authorization.split(", Signature").next().unwrap().to_owned(),
        "Basic YTpi".to_owned(),
        String::new(),
    ] {
        let mut changed = request.clone();
        changed.set("authorization", &other);
        refused(&host, &changed);
    }
}

#[test]
fn a2_five_minutes_either_way_are_taken_and_more_is_not() {
    let host = setup().start();
    let at = |seconds: i64| {
        let offset = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        let time = if seconds < 0 { now - offset } else { now + offset };
        send(&host, &health(&host).at(time).sign())
    };
    // Ten seconds for a slow machine; the exact bound is a unit test of the gate.
    for seconds in [-290, 290] {
        at(seconds).ok();
    }
    for seconds in [-310, 310, -86_400, 86_400, -315_360_000] {
        at(seconds).refused(401, "AuthenticationFailedException");
    }
}

#[test]
fn a2_a_scope_that_does_not_fit_is_refused() {
    let host = setup().start();
    let mut request = health(&host);
    request.scope_date = "20150830".into();
    refused(&host, &request.sign());
    for region in ["eu-west-1", "US-EAST-1", ""] {
        let mut request = health(&host);
        request.region = region.into();
        refused(&host, &request.sign());
    }
    for service in ["kms", "kms-xks-prox", "KMS-XKS-PROXY"] {
        let mut request = health(&host);
        request.service = service.into();
        refused(&host, &request.sign());
    }
    if let Some(reply) =
        host.curl_as(host.credential(), "eu-west-1", "/health", metadata_body("KmsHealthCheck"), &[])
    {
        reply.refused(401, "AuthenticationFailedException");
    }
}

#[test]
fn a2_every_altered_part_is_refused() {
    let host = setup().key("other", "encrypt,decrypt").start();
    let request = HandMade::new(&host, "/keys/demo/encrypt", encrypt_body("attack at dawn")).sign();
    let altered = |alter: &dyn Fn(&mut HandMade)| {
        let mut altered = request.clone();
        alter(&mut altered);
        refused(&host, &altered);
    };
    altered(&|request| request.path = request.path.replace("demo/encrypt", "other/encrypt"));
    altered(&|request| request.path = request.path.replace("encrypt", "decrypt"));
    altered(&|request| request.set("host", "other.example.com"));
    altered(&|request| request.set("content-type", "application/jsom"));
    let date = request.header("x-amz-date").to_owned();
    let other = if date.ends_with("0Z") { "1Z" } else { "0Z" };
    altered(&|request| request.set("x-amz-date", &format!("{}{other}", &date[..14])));
    altered(&|request| request.body.push(b' '));
    altered(&|request| request.body.clear());

    let mut signed_as_get = HandMade::new(&host, "/keys/demo/encrypt", encrypt_body("attack at dawn"));
    signed_as_get.method = "GET".into();
    let mut signed_as_get = signed_as_get.sign();
    signed_as_get.method = "POST".into();
    refused(&host, &signed_as_get);
    send(&host, &request).ok();
}

#[test]
fn a2_every_altered_byte_of_the_body_or_the_signature_is_refused() {
    let host = setup().start();
    let request = health(&host).sign();
    let mut raw = host.raw();
    for at in 0..request.body.len() {
        let mut altered = request.clone();
        altered.body[at] ^= 1;
        raw.exchange(altered.bytes()).refused(401, "AuthenticationFailedException");
    }
    let authorization = request.header("authorization").to_owned();
    let start = authorization.len() - 64;
    for at in start..authorization.len() {
        let mut bytes = authorization.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let mut altered = request.clone();
        altered.set("authorization", &String::from_utf8(bytes).unwrap());
        raw.exchange(altered.bytes()).refused(401, "AuthenticationFailedException");
    }
    let mut upper = request.clone();
    upper.set(
        "authorization",
        &format!("{}{}", &authorization[..start], authorization[start..].to_uppercase()),
    );
    raw.exchange(upper.bytes()).refused(401, "AuthenticationFailedException");
    raw.exchange(request.bytes()).ok();
}

#[test]
fn a2_unknown_ids_and_those_of_other_key_stores_are_refused_alike() {
    let host = setup().key_store("second", "/second").start();
    let mut unknown = health(&host);
    unknown.credential.access_key_id = "ABCDEFGHIJKLMNOPQRST".into();
    let mut others = health(&host);
    others.credential = host.credential_of("second").clone();
    let mut wrong = health(&host);
    wrong.credential.secret = "x".repeat(43);
    let answers = [unknown, others.clone(), wrong].map(|request| refused(&host, &request.sign()));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // At its own key store it is good.
    others.path = "/second/kms/xks/v1/health".into();
    send(&host, &others.sign()).ok();
}

#[test]
fn a2_nothing_helps_to_forge() {
    if crate::differs("TLS and its log are Spin's") {
        return;
    }
    // Over HTTP/2, whose library has the most to say.
    let mut host = setup().tls().environment("RUST_LOG", "trace").start();
    let mut client = host.client_of(Protocol::Http2);
    let mut altered = health(&host).sign();
    altered.body.push(b' ');
    let expected = altered.clone().sign().header("authorization").rsplit_once('=').unwrap().1.to_owned();
    let answer = refused(&host, &altered);
    let mut request = client.request(Operation::Health, "", metadata_body("KmsHealthCheck"));
    request.headers_mut().insert("authorization", altered.header("authorization").parse().unwrap());
    client.send(request).refused(401, "AuthenticationFailedException");
    host.terminate();
    host.wait();
    let (log, audit) = (host.log(), host.audit_text());
    assert!(log.contains("TRACE"), "the log tells all that it can");
    for text in [answer, log, audit] {
        assert!(!text.contains(&expected), "the expected signature");
        assert!(!text.contains(&host.credential().secret), "the secret");
    }
}
