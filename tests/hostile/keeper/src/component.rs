//! What it does follows from the key id in the path.

use std::cell::RefCell;

wit_bindgen::generate!({
    path: ["../../../wit/gate", "../../../wit/proxy"],
    world: "holdfast:proxy/proxy",
    generate_all,
});

use exports::holdfast::proxy::handler::{Guest, Response};
use holdfast::gate::types::{Admission, EncryptInput, Grant, Operation, Request};

thread_local! {
    /// The bodies of all requests so far.
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static ADMISSION: RefCell<Option<Admission>> = const { RefCell::new(None) };
    static GRANT: RefCell<Option<Grant>> = const { RefCell::new(None) };
    static ANSWER: RefCell<Option<String>> = const { RefCell::new(None) };
}

struct Component;

impl Guest for Component {
    fn handle(_: String, path: String, request: Request) -> Response {
        let key = path.split('/').nth(2).unwrap_or_default().to_owned();
        if key == "admit-nothing" {
            return refusal(tell());
        }
        let admitted = match Request::admit(request) {
            Ok(admitted) => admitted,
            Err(_) => return refusal(tell()),
        };
        let body = admitted.body;
        SEEN.with_borrow_mut(|seen| seen.push(body.clone()));
        let authorize = |admission| Admission::authorize(admission, Operation::Encrypt, &key);
        match key.as_str() {
            // Keeps the handles, and refuses.
            "keep-admission" => {
                ADMISSION.set(Some(admitted.admission));
                refusal(String::new())
            }
            "keep-grant" => {
                GRANT.set(authorize(admitted.admission).ok());
                refusal(String::new())
            }
            // Those of an earlier request, for this one.
            "use-admission" => match ADMISSION.take().map(authorize) {
                Some(Ok(grant)) => encrypt(grant, &body),
                _ => refusal(tell()),
            },
            "use-grant" => match GRANT.take() {
                Some(grant) => encrypt(grant, &body),
                None => refusal(tell()),
            },
            // An answer of before, for this request.
            "old-answer" => Response { status: 200, body: ANSWER.take().unwrap_or_default() },
            "tell" => refusal(tell()),
            _ => match authorize(admitted.admission) {
                Ok(grant) => {
                    let response = encrypt(grant, &body);
                    ANSWER.set(Some(response.body.clone()));
                    response
                }
                Err(_) => refusal(tell()),
            },
        }
    }
}

/// All that it remembers, as an error's message may be.
fn tell() -> String {
    let all = SEEN.with_borrow(|seen| seen.join(" "));
    all.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).take(500).collect()
}

fn refusal(message: String) -> Response {
    let body = format!(r#"{{"errorName":"AccessDeniedException","errorMessage":"kept: {message}"}}"#);
    Response { status: 403, body }
}

/// An encryption of what `body` says, in the specification's form.
fn encrypt(grant: Grant, body: &str) -> Response {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let bytes = |name: &str| unbase64(body[name].as_str().unwrap_or_default());
    let input = EncryptInput {
        plaintext: bytes("plaintext"),
        aad: bytes("additionalAuthenticatedData"),
        with_cdiv: !body["ciphertextDataIntegrityValueAlgorithm"].is_null(),
    };
    match Grant::encrypt(grant, &input) {
        Ok(made) => {
            let mut answer = serde_json::json!({
                "authenticationTag": base64(&made.tag),
                "ciphertext": base64(&made.ciphertext),
                "initializationVector": base64(&made.iv),
            });
            if !made.metadata.is_empty() {
                answer["ciphertextMetadata"] = base64(&made.metadata).into();
            }
            if let Some(cdiv) = made.cdiv {
                answer["ciphertextDataIntegrityValue"] = base64(&cdiv).into();
            }
            Response { status: 200, body: answer.to_string() }
        }
        Err(_) => refusal(tell()),
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let value =
            chunk.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(value >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Vec<u8> {
    let (mut bytes, mut value, mut bits) = (Vec::new(), 0u32, 0);
    for digit in text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
        value = value << 6 | digit as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((value >> bits) as u8);
        }
    }
    bytes
}

export!(Component);
