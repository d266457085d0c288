//! Where a request ends: chunks, lengths, and the shapes that request smuggling takes.

use std::fmt::Write;

use holdfast_tests::HandMade;

use crate::watched::{Expect, TOO_LONG, UNAUTHENTICATED, VALIDATION, Watched, replaced};

const WORKS: Expect = Expect::Works;

/// A signed request with these headers in place of Content-Length, and `wire` for a body.
fn framed(watched: &Watched, headers: &[(&str, &str)], wire: impl AsRef<[u8]>) -> Vec<u8> {
    let request = watched.encrypt();
    framed_request(&request, headers, wire)
}

fn framed_request(request: &HandMade, headers: &[(&str, &str)], wire: impl AsRef<[u8]>) -> Vec<u8> {
    let lines = headers.iter().fold(String::new(), |mut lines, (name, value)| {
        let _ = write!(lines, "{name}: {value}\r\n");
        lines
    });
    let head = replaced(&request.head(), "host:", format!("{lines}host:"));
    [&head, wire.as_ref()].concat()
}

/// Two requests on the wire, the first of them chunked.
fn chunked_then_good(watched: &Watched, headers: &[(&str, &str)]) -> Vec<u8> {
    let request = watched.encrypt();
    let first = framed_request(&request, headers, chunked(&request.body, ""));
    [first, watched.encrypt().bytes()].concat()
}

/// One chunk with `extension`, and the last one.
fn chunked(body: &[u8], extension: &str) -> Vec<u8> {
    [format!("{:x}{extension}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");

#[test]
fn t9_a_chunked_body_works_when_it_is_signed() {
    let mut watched = Watched::patient();
    let request = watched.encrypt();
    let body = &request.body;
    let bytewise = body.iter().fold(Vec::new(), |mut wire, byte| {
        wire.extend_from_slice(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
        wire
    });
    for (case, wire) in [
        ("one chunk", chunked(body, "")),
        ("a chunk for each byte", [bytewise, b"0\r\n\r\n".to_vec()].concat()),
        ("a chunk extension", chunked(body, ";name=value")),
    ] {
        watched.case(case, &framed_request(&request, &[CHUNKED], wire), &[WORKS]);
    }
    let start = format!("{:x}\r\n", body.len());
    let whole = [start.as_bytes(), body, b"\r\n"].concat();
    for lines in [
        "x-a: b\r\n",
        "authorization: x\r\nhost: other\r\nx-amz-date: 20200101T000000Z\r\n",
        "content-length: 3\r\n",
    ] {
        let wire = [&whole, &b"0\r\n"[..], lines.as_bytes(), b"\r\n"].concat();
        watched.case("trailers change nothing", &framed_request(&request, &[CHUNKED], wire), &[WORKS]);
    }
    watched.case(
        "Chunked",
        &framed_request(&request, &[("Transfer-Encoding", "Chunked")], chunked(body, "")),
        &[WORKS],
    );
    let then = chunked_then_good(&watched, &[CHUNKED]);
    watched.case("another request behind it", &then, &[WORKS, WORKS]);
    watched.is_unharmed();
}

#[test]
fn t9_broken_chunks_are_refused_and_the_connection_closed() {
    let mut watched = Watched::patient();
    let length = watched.encrypt().body.len();
    for (case, start, end) in [
        ("no hexadecimal digit", "zz\r\n".to_owned(), "\r\n0\r\n\r\n"),
        ("a negative size", format!("-{length:x}\r\n"), "\r\n0\r\n\r\n"),
        ("a size with 0x", format!("0x{length:x}\r\n"), "\r\n0\r\n\r\n"),
        ("a size over 64 bits", format!("{}\r\n", "f".repeat(17)), "\r\n0\r\n\r\n"),
        ("no size", "\r\n".to_owned(), "\r\n0\r\n\r\n"),
        ("a size too small", format!("{:x}\r\n", length - 1), "\r\n0\r\n\r\n"),
        ("a blank before the size", format!(" {length:x}\r\n"), "\r\n0\r\n\r\n"),
        ("bare LF for line ends", format!("{length:x}\n"), "\n0\n\n"),
        ("bare CR after the size", format!("{length:x}\r"), "\r\n0\r\n\r\n"),
        ("no end of the chunk", format!("{length:x}\r\n"), "XX0\r\n\r\n"),
        ("an extension without end", format!("{length:x};{}\r\n", "a".repeat(20_000)), "\r\n0\r\n\r\n"),
        (
            "trailers without end",
            format!("{length:x}\r\n"),
            &format!("\r\n0\r\nx-a: {}\r\n\r\n", "a".repeat(40_000)),
        ),
    ] {
        let request = watched.encrypt();
        let wire = [start.as_bytes(), &request.body, end.as_bytes()].concat();
        watched.last_case(case, &framed_request(&request, &[CHUNKED], wire), &[VALIDATION]);
    }
    let oversized = [&b"400\r\n"[..], &[b'a'; 1024], b"\r\n"].concat().repeat(65);
    watched.last_case("over the limit", &framed(&watched, &[CHUNKED], oversized), &[TOO_LONG]);
    watched.is_unharmed();
}

#[test]
fn t9_only_one_way_to_say_where_a_body_ends_is_taken() {
    let mut watched = Watched::patient();
    for value in [
        "xchunked",
        "chunk",
        "identity",
        "gzip",
        "chunked, identity",
        "\u{b}chunked",
        "\"chunked\"",
        "",
        "chunked;q=1",
    ] {
        let bytes = chunked_then_good(&watched, &[("transfer-encoding", value)]);
        watched.last_case(&format!("Transfer-Encoding: {value}"), &bytes, &[VALIDATION]);
    }
    // hyper frames these as chunked; no other reader need agree.
    for value in ["gzip, chunked", "chunked, chunked", "identity, chunked", ",chunked"] {
        let bytes = chunked_then_good(&watched, &[("transfer-encoding", value)]);
        watched.last_case(&format!("Transfer-Encoding: {value}"), &bytes, &[VALIDATION]);
    }
    let twice = |values: [&'static str; 2]| values.map(|value| ("transfer-encoding", value));
    for values in
        [["chunked", "identity"], ["chunked", "xchunked"], ["identity", "chunked"], ["chunked", "chunked"]]
    {
        watched.last_case(
            &format!("{values:?}"),
            &chunked_then_good(&watched, &twice(values)),
            &[VALIDATION],
        );
    }
    for (name, value) in [
        ("transfer-encoding ", "chunked"),
        ("transfer-encoding", "\r\n chunked"),
        ("transfer\u{b}encoding", "chunked"),
    ] {
        let bytes = chunked_then_good(&watched, &[(name, value)]);
        watched.last_case(&format!("{name:?}: {value:?}"), &bytes, &[VALIDATION]);
    }
    let request = HandMade { version: "HTTP/1.0".into(), ..watched.encrypt() };
    let bytes = framed_request(&request, &[CHUNKED], chunked(&request.body, ""));
    watched.last_case("chunked with HTTP/1.0", &bytes, &[VALIDATION]);
    watched.is_unharmed();
}

/// RFC 9112, section 6.1: the server may go by Transfer-Encoding alone, and closes the connection.
#[test]
fn t9_a_length_beside_chunks_never_hides_a_second_request() {
    let mut watched = Watched::patient();
    for headers in [
        [("content-length", "3"), CHUNKED],
        [CHUNKED, ("content-length", "3")],
        [CHUNKED, ("content-length", "100000")],
        [("content-length", "0"), ("Transfer-Encoding", "CHUNKED")],
    ] {
        let bytes = chunked_then_good(&watched, &headers);
        watched.last_case(&format!("{headers:?}"), &bytes, &[WORKS]);
    }
    watched.is_unharmed();
}

#[test]
fn t9_a_length_is_one_number() {
    let mut watched = Watched::patient();
    let length = watched.encrypt().body.len();
    for value in [
        format!("{length}, {length}"),
        format!("+{length}"),
        format!("-{length}"),
        format!("0x{length:x}"),
        format!("{length}.0"),
        format!("{length} 1"),
        "9".repeat(30),
        String::new(),
    ] {
        let request = watched.encrypt();
        let bytes = framed_request(&request, &[("content-length", &value)], &request.body);
        watched.last_case(&format!("Content-Length: {value}"), &bytes, &[VALIDATION]);
    }
    let request = watched.encrypt();
    let (right, wrong) = (length.to_string(), (length - 1).to_string());
    let two = |first: &str, second: &str| {
        framed_request(&request, &[("content-length", first), ("content-length", second)], &request.body)
    };
    watched.last_case("two that differ", &two(&right, &wrong), &[VALIDATION]);
    watched.case("twice the same number, which says the same", &two(&right, &right), &[WORKS]);
    let shorter = framed_request(&request, &[("content-length", &wrong)], &request.body);
    watched.last_case("a byte too few", &shorter, &[UNAUTHENTICATED, VALIDATION]);
    let none = framed_request(&request, &[], &request.body);
    watched.last_case(
        "none: the body is no part of the request",
        &[none, b"\r\n\r\n".to_vec()].concat(),
        &[UNAUTHENTICATED, VALIDATION],
    );
    watched.last_case(
        "2^63",
        &framed(&watched, &[("content-length", "9223372036854775808")], ""),
        &[TOO_LONG],
    );
    watched.is_unharmed();
}

#[test]
fn pipelined_requests_are_answered_each_and_in_order() {
    let mut watched = Watched::patient();
    let health =
        HandMade::new(&watched.host, "/health", holdfast_tests::metadata_body("KmsHealthCheck")).sign();
    let forged = replaced(&watched.encrypt().bytes(), "/encrypt", "/decrypt");
    let nowhere = HandMade { path: "/nowhere".into(), ..watched.encrypt() }.bytes();
    let ping = b"GET /ping HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello".to_vec();
    let all = [watched.encrypt().bytes(), forged, health.bytes(), nowhere, ping, watched.encrypt().bytes()]
        .concat();
    let nowhere = Expect::Refused(404, "InvalidUriPathException");
    watched.case("six at once", &all, &[WORKS, UNAUTHENTICATED, WORKS, nowhere, WORKS, WORKS]);
    let broken =
        [watched.encrypt().bytes(), b"nonsense\r\n\r\n".to_vec(), watched.encrypt().bytes()].concat();
    watched.last_case("nothing after a broken one", &broken, &[WORKS, VALIDATION]);
    watched.case(
        "empty lines between",
        &[b"\r\n\r\n".to_vec(), watched.encrypt().bytes()].concat(),
        &[WORKS],
    );
    watched.is_unharmed();
}
