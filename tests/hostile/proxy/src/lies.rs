//! Answers that are none of the gate's.

use crate::component::exports::holdfast::proxy::handler::Response;
use crate::exhaust::{VAST, not_utf8, vast_lie};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// An encryption that nobody made.
pub const ENCRYPTED: &str = r#"{"authenticationTag":"AAAAAAAAAAAAAAAAAAAAAA==","ciphertext":"AAAA","initializationVector":"AAAAAAAAAAAAAAAA"}"#;

/// Answers without asking the gate at all, by name.
pub fn unasked(name: &str) -> Option<Response> {
    let error = |name: &str, message: &str| format!(r#"{{"errorName":"{name}","errorMessage":"{message}"}}"#);
    let (status, body) = match name {
        "unasked-encrypted" => (200, ENCRYPTED.into()),
        "unasked-plaintext" => (200, r#"{"plaintext":"AAAA"}"#.into()),
        "unasked-metadata" => {
            (200, r#"{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}"#.into())
        }
        "unasked-nothing" => (200, "{}".into()),
        "unasked-created" => (201, ENCRYPTED.into()),
        "status-0" => (0, ENCRYPTED.into()),
        "status-100" => (100, ENCRYPTED.into()),
        "status-204" => (204, String::new()),
        "status-302" => (302, error("AccessDeniedException", "go elsewhere")),
        "status-65535" => (65_535, error("InternalException", "high")),
        "other-pair" => (403, error("KeyNotFoundException", "which of the two")),
        "other-name" => (400, error("SuccessException", "no such name")),
        "success-with-error" => (200, error("AccessDeniedException", "both")),
        "error-with-member" => {
            (403, r#"{"errorName":"AccessDeniedException","errorMessage":"and","plaintext":"AAAA"}"#.into())
        }
        "name-twice" => {
            (403, r#"{"errorName":"KeyNotFoundException","errorName":"AccessDeniedException"}"#.into())
        }
        "message-511" => (403, error("AccessDeniedException", &"m".repeat(511))),
        "message-512" => (403, error("AccessDeniedException", &"m".repeat(512))),
        "message-8-bit" => (403, error("AccessDeniedException", "Schl\u{fc}ssel")),
        "message-control" => (403, error("AccessDeniedException", r"one\ntwo")),
        "not-json" => (403, "AccessDeniedException".into()),
        "json-and-more" => (403, error("AccessDeniedException", "one") + " {}"),
        "array" => (403, "[]".into()),
        "deep-json" => (403, "[".repeat(200_000)),
        "not-utf8" => (403, not_utf8()),
        "large" => (403, error("AccessDeniedException", &"m".repeat(600 * 1024))),
        "vast" => (403, error("AccessDeniedException", &"m".repeat(VAST))),
        "vast-lie" => (403, vast_lie()),
        "refuse" => (403, error("AccessDeniedException", "as any proxy may")),
        _ => return None,
    };
    Some(Response { status, body })
}

/// Changes an answer that the gate's result stands behind, by name. `seen` is what was to be encrypted, in base64.
pub fn after(name: &str, status: u16, body: String, plaintext: &[u8], seen: &str) -> (u16, String) {
    let body = match name {
        "spaced" => body.replace(',', " ,\t").replace('{', "{ \n"),
        "reordered" => reordered(&body),
        "escaped" => escaped(&body),
        "escaped-name" => body.replacen("te", "\\u0074e", 1),
        "told" => match body.split_once("\"errorMessage\":\"") {
            Some((before, _)) => format!("{before}\"errorMessage\":\"{seen}\"}}"),
            None => body,
        },
        "other-error-told" => {
            return (400, format!(r#"{{"errorName":"InvalidStateException","errorMessage":"{seen}"}}"#));
        }
        "altered" => altered(body),
        "extra-member" => body.replacen('{', r#"{"extra":1,"#, 1),
        "extra-plaintext" => body.replacen('{', r#"{"plaintext":"AAAA","#, 1),
        "member-twice" => match body.split_once("\":\"") {
            Some((name, rest)) => format!("{name}\":\"AAAA\",{}\":\"{rest}", name.trim_start_matches('{')),
            None => body,
        },
        "no-member" => body.split_once(',').map_or("{}".into(), |(_, rest)| format!("{{{rest}")),
        "twice" => format!("{body}{body}"),
        "spaced-base64" => body.replacen("==", "= =", 1),
        "unasked" => ENCRYPTED.into(),
        "metadata-instead" => {
            r#"{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}"#.into()
        }
        "more-usage" => body.replacen('[', r#"["SIGN_VERIFY","#, 1),
        "disabled-instead" => body.replacen("ENABLED", "DISABLED", 1),
        "healthier" => body.replacen("\"xksProxyFleetSize\":1", "\"xksProxyFleetSize\":1e0", 1),
        "larger-fleet" => body.replacen("\"xksProxyFleetSize\":1", "\"xksProxyFleetSize\":2", 1),
        // The caller may have the plaintext; the log may not.
        "plaintext-in-error" => {
            let text = STANDARD.encode(plaintext);
            return (400, format!(r#"{{"errorName":"ValidationException","errorMessage":"{text}"}}"#));
        }
        "refuse-after" => {
            return (
                403,
                r#"{"errorName":"AccessDeniedException","errorMessage":"done, and denied"}"#.into(),
            );
        }
        _ => body,
    };
    (status, body)
}

/// Another first character in the first text of base64 that is a member of the answer.
fn altered(body: String) -> String {
    let name = if body.contains("\"plaintext\"") { "\"plaintext\":\"" } else { "\"ciphertext\":\"" };
    let Some((before, after)) = body.split_once(name) else { return body };
    let first = if after.starts_with('A') { 'B' } else { 'A' };
    format!("{before}{name}{first}{}", after.get(1..).unwrap_or_default())
}

/// The first member last.
fn reordered(body: &str) -> String {
    let Some((first, rest)) = body.split_once(',') else { return body.to_owned() };
    format!("{{{},{}}}", rest.trim_end_matches('}'), first.trim_start_matches('{'))
}

/// The first character of the first text written as an escape.
fn escaped(body: &str) -> String {
    let Some((before, after)) = body.split_once(":\"") else { return body.to_owned() };
    let first = u32::from(after.chars().next().unwrap_or_default());
    format!("{before}:\"\\u{first:04X}{}", after.get(1..).unwrap_or_default())
}
