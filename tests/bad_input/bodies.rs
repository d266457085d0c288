//! Bodies: strict JSON, bounded in size and time.

use std::time::{Duration, Instant};

use holdfast_tests::{HandMade, Setup, encrypt_body, wait_for};

use crate::watched::{Expect, PLAINTEXT, TOO_LONG, UNAUTHENTICATED, VALIDATION, Watched};

const WORKS: Expect = Expect::Works;
const LATE: Expect = Expect::Refused(503, "DependencyTimeoutException");

#[test]
fn o7_only_one_strict_json_object_is_taken_though_it_is_signed() {
    let mut watched = Watched::patient();
    let good = encrypt_body(PLAINTEXT).to_string();
    let with = |members: &str| format!("{},{members}}}", &good[..good.len() - 1]).into_bytes();
    let request_id = |json: &str| {
        let at = good.find("\"kmsRequestId\":").unwrap() + 15;
        let end = at + good[at + 1..].find('"').unwrap() + 2;
        format!("{}{json}{}", &good[..at], &good[end..])
    };
    let nested = |levels: usize| with(&format!("\"a\":{}{}", "[".repeat(levels), "]".repeat(levels)));
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let good_bytes = good.clone().into_bytes();
    for (case, body) in [
        ("nothing", Vec::new()),
        ("an array", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("no object closed", good_bytes[..good.len() - 1].to_vec()),
        ("a name twice", with("\"plaintext\":\"AAAA\"")),
        ("a name twice, once escaped", with("\"plain\\u0074ext\":\"AAAA\"")),
        ("an unknown name twice", with("\"a\":1,\"a\":1")),
        ("a name twice, deeper", with("\"a\":[{\"b\":1,\"b\":2}]")),
        ("requestMetadata twice", with("\"requestMetadata\":{}")),
        ("kmsRequestId twice", request_id("\"r\",\"kmsRequestId\":\"r\"").into_bytes()),
        ("too deep", nested(16)),
        ("far too deep", nested(30_000)),
        ("a lone high surrogate", request_id("\"\\ud800\"").into_bytes()),
        ("a lone low surrogate", request_id("\"\\udc00\"").into_bytes()),
        ("surrogates in the wrong order", request_id("\"\\udc00\\ud800\"").into_bytes()),
        (
            "a surrogate as UTF-8",
            with("\"a\":\"?\"")
                .iter()
                .flat_map(|b| if *b == b'?' { vec![0xed, 0xa0, 0x80] } else { vec![*b] })
                .collect(),
        ),
        ("no UTF-8", with("\"a\":\"?\"").iter().map(|b| if *b == b'?' { 0xff } else { *b }).collect()),
        (
            "overlong UTF-8",
            with("\"a\":\"?\"")
                .iter()
                .flat_map(|b| if *b == b'?' { vec![0xc0, 0xaf] } else { vec![*b] })
                .collect(),
        ),
        ("a line feed in a string", request_id("\"a\nb\"").into_bytes()),
        ("a byte order mark", [b"\xef\xbb\xbf", &*good_bytes].concat()),
        ("UTF-16", utf16),
        ("a byte after it", [&*good_bytes, b"x"].concat()),
        ("NUL after it", [&*good_bytes, b"\0"].concat()),
        ("another object after it", [&*good_bytes, b"{}"].concat()),
        ("itself after it", [&*good_bytes, &*good_bytes].concat()),
        ("a comment", with("\"a\":1/**/")),
        ("a comma too many", with("\"a\":1,")),
        ("single quotes", good.replace('"', "'").into_bytes()),
        ("a number over the range", with("\"a\":1e999")),
        ("a number of 400 digits", with(&format!("\"a\":{}", "9".repeat(400)))),
        ("a number with a leading zero", with("\"a\":01")),
        ("NaN", with("\"a\":NaN")),
        ("a number for the request id", request_id("1").into_bytes()),
        ("null for the request id", request_id("null").into_bytes()),
        (
            "a number for the plaintext",
            good.replace("\"plaintext\":\"", "\"plaintext\":7,\"p\":\"").into_bytes(),
        ),
        (
            "Base64 without padding",
            good.replace("\"plaintext\":\"", "\"plaintext\":\"AA\",\"p\":\"").into_bytes(),
        ),
        ("Base64 for URLs", good.replace("\"plaintext\":\"", "\"plaintext\":\"-_-_\",\"p\":\"").into_bytes()),
        ("an unknown algorithm", good.replace("AES_GCM", "AES_CBC").into_bytes()),
    ] {
        let request = watched.with_body(body);
        watched.case(case, &request.bytes(), &[VALIDATION]);
    }
    for (case, body) in [
        ("blanks around it", [b" \r\n\t", &*good_bytes, b" \n"].concat()),
        ("unknown members", with("\"a\":{\"b\":[1,-0.5e-3,null,true,\"\\ud83d\\ude00\"]}")),
        ("as deep as is read", nested(15)),
        ("an escaped request id", request_id("\"\\u0000\\n\\u2028\\\"\"").into_bytes()),
    ] {
        let request = watched.with_body(body);
        watched.case(case, &request.bytes(), &[WORKS]);
    }
    watched.is_unharmed();
}

#[test]
fn l1_hostile_text_in_metadata_stays_within_its_line_of_the_audit_log() {
    let mut watched = Watched::patient();
    let mut body = encrypt_body(PLAINTEXT);
    let hostile = "a\n{\"schema\":1}\r\n\u{1b}[2J\u{2028}\u{202e}\"\\\u{0}";
    body["requestMetadata"]["kmsViaService"] = hostile.into();
    body["requestMetadata"][hostile] = hostile.into();
    let request = watched.with_body(body.to_string());
    let before = watched.host.audit_text().lines().count();
    watched.host.raw().exchange(request.bytes()).ok();
    let text = watched.host.audit_text();
    assert_eq!(text.lines().count(), before + 1);
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{2028}', '\0']), "{text}");
    let record = watched.last_record();
    assert_eq!(record["requestMetadata"]["kmsViaService"], hostile);
    assert_eq!(record["requestMetadata"]["other"][hostile], hostile);
    watched.is_unharmed();
}

#[test]
fn t9_a_body_over_the_limit_is_refused_before_it_is_read() {
    let mut watched = Watched::patient();
    let announced = |watched: &Watched, length: usize, expect: &[(&str, &str)]| {
        let mut request = watched.encrypt();
        request.set("content-length", &length.to_string());
        for (name, value) in expect {
            request.set(name, value);
        }
        request.head()
    };
    // Only the head is sent: an answer at all says that nobody waited for the body.
    for length in [65_537, 10_000_000, usize::MAX / 4] {
        let head = announced(&watched, length, &[]);
        watched.last_case(&format!("{length} bytes announced"), &head, &[TOO_LONG]);
    }
    let head = announced(&watched, 70_000, &[("expect", "100-continue")]);
    watched.last_case("no 100 Continue for it", &head, &[TOO_LONG]);
    let mut unsigned = watched.encrypt();
    unsigned.remove("authorization");
    unsigned.set("content-length", "10000000");
    watched.last_case("nor is an unauthenticated one", &unsigned.head(), &[UNAUTHENTICATED]);
    let padded = |length: usize| {
        let body = encrypt_body(PLAINTEXT).to_string();
        body.clone() + &" ".repeat(length - body.len())
    };
    let request = watched.with_body(padded(65_536));
    watched.case("just the limit", &request.bytes(), &[WORKS]);
    let request = watched.with_body(padded(65_537));
    watched.last_case("a byte more", &request.bytes(), &[TOO_LONG]);
    watched.is_unharmed();
}

#[test]
fn t9_a_body_that_ends_early_is_refused() {
    let mut watched = Watched::patient();
    let request = watched.encrypt();
    let whole = request.bytes();
    for missing in [1, 50, request.body.len()] {
        watched.ended_case("by its length", &whole[..whole.len() - missing], &[VALIDATION, Expect::Closed]);
    }
    let mut chunked = request;
    chunked.set("transfer-encoding", "chunked");
    let begun = [&chunked.head(), &b"40\r\n{"[..]].concat();
    watched.ended_case("within a chunk", &begun, &[VALIDATION, Expect::Closed]);
    watched.is_unharmed();
}

#[test]
fn d1_a_slow_body_is_answered_within_the_budget_and_the_connection_closed() {
    let mut watched = Watched::start(Setup::new().limit("budget", "700ms"));
    let request = watched.encrypt();
    let whole = request.bytes();
    for (case, bytes) in [
        ("all but a byte", whole[..whole.len() - 1].to_vec()),
        ("nothing of it", whole[..whole.len() - request.body.len()].to_vec()),
        ("a chunk under way", {
            let mut chunked = request.clone();
            chunked.set("transfer-encoding", "chunked");
            [&chunked.head(), &b"ffff\r\n{"[..]].concat()
        }),
    ] {
        let start = Instant::now();
        watched.last_case(case, &bytes, &[LATE]);
        assert!(start.elapsed() >= Duration::from_millis(700), "{case}: the budget wasn't given to it");
    }
    watched.is_unharmed();
}

#[test]
fn t9_expect_100_continue_is_heeded() {
    let mut watched = Watched::start(Setup::new().limit("budget", "2s"));
    let mut request = watched.encrypt();
    request.set("expect", "100-continue");
    request.set("content-length", &request.body.len().to_string());
    let (body, head) = (request.body.clone(), request.head());
    let mut raw = std::net::TcpStream::connect(watched.host.address()).unwrap();
    std::io::Write::write_all(&mut raw, &head).unwrap();
    let mut begun = [0; 25];
    std::io::Read::read_exact(&mut raw, &mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100 Continue\r\n\r\n");
    std::io::Write::write_all(&mut raw, &body).unwrap();
    let answer = wait_for("the answer", || {
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut raw, &mut answer).ok().map(|()| answer)
    });
    assert_eq!(&answer, b"HTTP/1.1 200");
    let unsigned = HandMade {
        headers: vec![("host".into(), "a".into()), ("expect".into(), "100-continue".into())],
        ..request
    };
    watched.last_case(
        "nobody is told to go on unauthenticated",
        &replaced_length(&unsigned),
        &[UNAUTHENTICATED],
    );
    watched.is_unharmed();
}

fn replaced_length(request: &HandMade) -> Vec<u8> {
    let mut request = request.clone();
    request.set("content-length", "500");
    request.head()
}
