//! The bodies of successful answers (spec, section "API operations").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_gate::reply::{Encrypted, Health, KeyMetadata};
use holdfast_gate::strict::write_text;

/// GetHealthStatus.
pub fn health(health: &Health) -> String {
    let mut out = format!("{{\"xksProxyFleetSize\":{},\"xksProxyVendor\":", health.fleet_size);
    write_text(&mut out, &health.vendor);
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
    let mut out = String::from("{\"keySpec\":");
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

/// Encrypt.
pub fn encrypted(encrypted: &Encrypted) -> String {
    let mut out = String::with_capacity(256 + encrypted.ciphertext.len() * 4 / 3);
    out.push_str("{\"authenticationTag\":\"");
    STANDARD.encode_string(&encrypted.tag, &mut out);
    bytes_member(&mut out, "ciphertext", &encrypted.ciphertext);
    if let Some(cdiv) = &encrypted.cdiv {
        bytes_member(&mut out, "ciphertextDataIntegrityValue", cdiv);
    }
    if !encrypted.metadata.is_empty() {
        bytes_member(&mut out, "ciphertextMetadata", &encrypted.metadata);
    }
    bytes_member(&mut out, "initializationVector", &encrypted.iv);
    out.push_str("\"}");
    out
}

/// Decrypt.
pub fn plaintext(plaintext: &[u8]) -> String {
    let mut out = String::with_capacity(32 + plaintext.len() * 4 / 3);
    out.push_str("{\"plaintext\":\"");
    STANDARD.encode_string(plaintext, &mut out);
    out.push_str("\"}");
    out
}

fn text_member(out: &mut String, name: &str, text: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    write_text(out, text);
}

/// Closes the string before and leaves its own open.
fn bytes_member(out: &mut String, name: &str, bytes: &[u8]) {
    out.push_str("\",\"");
    out.push_str(name);
    out.push_str("\":\"");
    STANDARD.encode_string(bytes, out);
}
