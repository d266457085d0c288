//! The one form in which results leave: no white space, the members in a fixed order (spec, section "API operations").
//!
//! One request has one successful answer, so an answer tells nothing but the result. The proxy component writes the
//! same form by the same code, which makes comparing the two cheap; any other proxy need not.

use super::results::{Encrypted, Health, KeyMetadata, Outcome};
use crate::strict::write_text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The body of the 200 that reports `outcome`, wiped when dropped; `None` where nothing was done.
pub fn outcome(outcome: &Outcome) -> Option<Zeroizing<Vec<u8>>> {
    Some(match outcome {
        Outcome::Nothing => return None,
        Outcome::Health(done) => Zeroizing::new(health(done).into_bytes()),
        Outcome::KeyMetadata(done) => Zeroizing::new(key_metadata(done).into_bytes()),
        Outcome::Encrypted(done) => Zeroizing::new(encrypted(done)),
        Outcome::Plaintext(done) => plaintext(done),
    })
}

/// GetHealthStatus.
pub fn health(health: &Health) -> String {
    let mut out = format!("{{\"xksProxyFleetSize\":{}", health.fleet_size);
    text_member(&mut out, "xksProxyVendor", &health.vendor);
    text_member(&mut out, "xksProxyModel", &health.model);
    text_member(&mut out, "ekmVendor", &health.ekm_vendor);
    out.push_str(",\"ekmFleetDetails\":[");
    for (i, manager) in health.fleet.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"id\":" } else { "{\"id\":" });
        write_text(&mut out, &manager.id);
        text_member(&mut out, "model", &manager.model);
        text_member(&mut out, "healthStatus", manager.status.as_str());
        out.push('}');
    }
    out.push_str("]}");
    out
}

/// GetKeyMetadata.
pub fn key_metadata(metadata: &KeyMetadata) -> String {
    let mut out = String::with_capacity(128);
    out.push_str("{\"keySpec\":");
    write_text(&mut out, &metadata.key_spec);
    out.push_str(",\"keyUsage\":[");
    for (i, usage) in metadata.key_usage.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_text(&mut out, usage);
    }
    out.push(']');
    text_member(&mut out, "keyStatus", if metadata.enabled { "ENABLED" } else { "DISABLED" });
    out.push('}');
    out
}

/// Encrypt. The text is ASCII.
pub fn encrypted(encrypted: &Encrypted) -> Vec<u8> {
    // Names and punctuation are 124 bytes; the values but the ciphertext at most 24 + 44 + 28 + 24.
    let mut out = Vec::with_capacity(244 + encoded_length(&encrypted.ciphertext));
    out.extend_from_slice(b"{\"authenticationTag\":\"");
    write_base64(&mut out, &encrypted.tag);
    bytes_member(&mut out, "ciphertext", &encrypted.ciphertext);
    if let Some(cdiv) = &encrypted.cdiv {
        bytes_member(&mut out, "ciphertextDataIntegrityValue", cdiv);
    }
    if !encrypted.metadata.is_empty() {
        bytes_member(&mut out, "ciphertextMetadata", &encrypted.metadata);
    }
    bytes_member(&mut out, "initializationVector", &encrypted.iv);
    out.extend_from_slice(b"\"}");
    out
}

/// Decrypt. The text is ASCII; no part of it is left behind in a smaller buffer.
pub fn plaintext(plaintext: &[u8]) -> Zeroizing<Vec<u8>> {
    const START: &[u8] = b"{\"plaintext\":\"";
    const END: &[u8] = b"\"}";
    let length = START.len() + encoded_length(plaintext) + END.len();
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    out.extend_from_slice(START);
    write_base64(&mut out, plaintext);
    out.extend_from_slice(END);
    out
}

fn text_member(out: &mut String, name: &str, text: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    write_text(out, text);
}

/// Closes the string before and leaves its own open.
fn bytes_member(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    write_base64(out, bytes);
}

/// Straight into place: `encode_string` would go through a buffer on the stack, and leave the text there.
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + encoded_length(bytes), 0);
    // The room is what is needed; were it not, an empty text would be refused by the comparison.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// Of padded base64.
fn encoded_length(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}
