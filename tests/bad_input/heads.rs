//! Request lines and headers.

use holdfast_tests::encrypt_body;

use crate::watched::{Expect, PLAINTEXT, UNAUTHENTICATED, VALIDATION, Watched, replaced};

const TOO_LARGE: Expect = Expect::Refused(431, "ValidationException");
const WRONG_METHOD: Expect = Expect::Refused(405, "InvalidUriPathException");

#[test]
fn t8_malformed_headers_are_refused_and_the_connection_closed() {
    let mut watched = Watched::patient();
    let good = watched.encrypt().bytes();
    let before_host = |line: &[u8]| replaced(&good, "host:", [line, b"host:"].concat());
    for (case, bytes) in [
        ("folded", replaced(&good, "application/json", "application/json;\r\n charset=utf-8")),
        ("folded by a tab", replaced(&good, "application/json", "application/json;\r\n\tcharset=utf-8")),
        ("folded authorization", replaced(&good, ", SignedHeaders", "\r\n , SignedHeaders")),
        ("folded first line", replaced(&good, "host:", " host:")),
        ("8-bit name", before_host(b"x-\xe9: a\r\n")),
        ("NUL in a value", before_host(b"x-a: a\0b\r\n")),
        ("bare CR in a value", before_host(b"x-a: a\rb\r\n")),
        ("bare CR for line ends", good.iter().copied().filter(|byte| *byte != b'\n').collect()),
        ("DEL in a value", before_host(b"x-a: a\x7fb\r\n")),
        ("space before the colon", replaced(&good, "host:", "host :")),
        ("no colon", before_host(b"nonsense\r\n")),
        ("no name", before_host(b": x\r\n")),
        ("space before the request line", [b"  ", &*good].concat()),
        ("no HTTP", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03 a TLS hello\r\n\r\n".to_vec()),
    ] {
        watched.last_case(case, &bytes, &[VALIDATION]);
    }
    watched.is_unharmed();
}

#[test]
fn t8_a_head_over_the_limit_is_a_431() {
    let mut watched = Watched::patient();
    let good = watched.encrypt().bytes();
    let with = |line: String| replaced(&good, "host:", format!("{line}host:"));
    let many = |count: usize| (0..count).map(|i| format!("x-{i}: a\r\n")).collect::<String>();
    watched.case("50 more headers", &with(many(50)), &[Expect::Works]);
    watched.case("70 more headers", &with(many(70)), &[TOO_LARGE]);
    watched.last_case("101 more headers", &with(many(101)), &[TOO_LARGE]);
    watched.case("12,000 bytes", &with(format!("x-a: {}\r\n", "a".repeat(12_000))), &[Expect::Works]);
    for size in [17_000, 1_000_000] {
        watched.last_case("too long", &with(format!("x-a: {}\r\n", "a".repeat(size))), &[TOO_LARGE]);
    }
    let path = format!("/{}", "a".repeat(20_000));
    watched.last_case("a very long target", &replaced(&good, "/demo/kms", path), &[TOO_LARGE]);
    watched.is_unharmed();
}

#[test]
fn a1_missing_and_repeated_headers_that_must_be_there_once_are_unauthenticated() {
    let mut watched = Watched::patient();
    let signed = watched.encrypt();
    let good = signed.bytes();
    let authority = watched.host.authority();
    for name in ["host", "x-amz-date", "authorization"] {
        let mut without = signed.clone();
        without.remove(name);
        watched.case(&format!("no {name}"), &without.bytes(), &[UNAUTHENTICATED]);
        let twice =
            replaced(&good, format!("{name}:"), format!("{name}: {}\r\n{name}:", signed.header(name)));
        watched.case(&format!("{name} twice, the same"), &twice, &[UNAUTHENTICATED]);
        let other = replaced(&good, format!("{name}:"), format!("{name}: other\r\n{name}:"));
        watched.case(&format!("{name} twice, differing"), &other, &[UNAUTHENTICATED]);
        let empty = replaced(&good, format!("{name}: "), format!("{name}: \r\nx-rest: "));
        watched.case(&format!("{name} empty"), &empty, &[UNAUTHENTICATED]);
    }
    for (case, bytes) in [
        ("8-bit host", replaced(&good, "host: ", b"host: \xe9")),
        ("8-bit authorization", replaced(&good, "Credential=", b"Credential=\xe9")),
        ("host without its port", replaced(&good, format!("host: {authority}"), "host: 127.0.0.1")),
        ("a signed header twice", replaced(&good, "content-type:", "content-type: a\r\ncontent-type:")),
        ("no parameters", replaced(&good, "Credential=", "redential=")),
        (
            "two signatures",
            replaced(&good, ", Signature=", format!(", Signature={}, Signature=", "0".repeat(64))),
        ),
        ("another scheme", replaced(&good, "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")),
        ("a long authorization", replaced(&good, "Credential=", format!("Credential={}", "A".repeat(9_000)))),
    ] {
        watched.case(case, &bytes, &[UNAUTHENTICATED]);
    }
    watched.is_unharmed();
}

#[test]
fn a1_headers_that_nobody_signed_may_hold_8_bit_bytes() {
    let mut watched = Watched::patient();
    let bytes = replaced(&watched.encrypt().bytes(), "host:", b"x-a: \xe9\xff \tb\r\nX-A: again\r\nhost:");
    watched.case("8-bit value", &bytes, &[Expect::Works]);
    watched.is_unharmed();
}

#[test]
fn t3_only_http_1_1_is_taken_on_a_plain_port() {
    let mut watched = Watched::patient();
    let good = watched.encrypt().bytes();
    let version = |text: &str| replaced(&good, "HTTP/1.1", text);
    watched.case("HTTP/1.0", &version("HTTP/1.0"), &[VALIDATION]);
    for text in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTP/1.1", "http/1.1", "HTTP/1.1 "] {
        watched.last_case(text, &version(text), &[VALIDATION]);
    }
    watched.last_case("HTTP/0.9", b"GET /ping\r\n", &[VALIDATION]);
    watched.last_case("a body alone", encrypt_body(PLAINTEXT).to_string().as_bytes(), &[VALIDATION]);
    watched.last_case("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &[]);
    watched.is_unharmed();
}

#[test]
fn t2_any_other_method_is_a_405() {
    let mut watched = Watched::patient();
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "FROB", "post"] {
        let mut request = watched.encrypt();
        request.method = method.into();
        watched.case(method, &request.sign().bytes(), &[WRONG_METHOD]);
    }
    let good = watched.encrypt().bytes();
    for method in ["P@ST", "", "POST\t", "P\u{e9}ST"] {
        watched.last_case(method, &replaced(&good, "POST", method), &[VALIDATION]);
    }
    let mut head = watched.host.raw();
    head.write(replaced(&good, "POST", "HEAD"));
    head.end_writing();
    let (_, answer) = head.until_closed();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 405 ") && answer.ends_with("\r\n\r\n"),
        "HEAD has no body: {answer}"
    );
    watched.is_unharmed();
}
