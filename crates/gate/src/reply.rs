//! What may leave: a success only if it says exactly what the gate did, an error only in the specification's terms. A
//! component that has seen a body has no text of its own in either.

pub mod render;
mod results;

pub use results::{Encrypted, Health, HealthStatus, KeyManager, KeyMetadata, Outcome};

use crate::error::{ErrorName, MESSAGE_LIMIT, Refusal};
use crate::strict::{self, Object, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Why an answer may not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyFault {
    /// The body isn't one strict JSON object.
    #[error("the answer is not one JSON object")]
    Json,
    /// A 200 that differs from the recorded result, or has none.
    #[error("the answer differs from the gate's result")]
    Differs,
    /// A status and errorName that don't belong together in the specification.
    #[error("the answer is no error of the specification")]
    Error,
    /// An error, though something was done.
    #[error("the answer refuses what was done")]
    Hides,
}

/// An answer that may leave, in the gate's own form.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// A 200 and its body: the recorded result as [`render`] writes it.
    Success(Zeroizing<Vec<u8>>),
    /// An error of the specification, with its status.
    Error(u16, Refusal),
}

/// Whose words an error is told in.
#[derive(Clone, Copy)]
pub enum Words<'a> {
    /// The component's. Only while it has seen nothing that isn't for everybody: method and path.
    Components,
    /// The gate's, as the component has seen the body: a message could repeat it. With the gate's last refusal.
    Gates(Option<&'a Refusal>),
}

/// Checks an answer against what was done. What leaves is the gate's own text: the component has said which.
pub fn check(status: u16, body: &str, outcome: &Outcome, words: Words<'_>) -> Result<Reply, ReplyFault> {
    if status == 200 {
        return success(body, outcome).map(Reply::Success);
    }
    let (name, message) = error(status, body)?;
    if !matches!(outcome, Outcome::Nothing) {
        return Err(ReplyFault::Hides);
    }
    Ok(match words {
        Words::Components => Reply::Error(status, Refusal { name, message: message.into() }),
        Words::Gates(Some(refusal)) if refusal.name == name => Reply::Error(name.status(), refusal.clone()),
        Words::Gates(_) => Reply::Error(name.status(), Refusal::new(name, name.message())),
    })
}

/// The usual component writes what the gate writes, and nothing has to be parsed. Another may write the same content in
/// another form, which then doesn't leave.
fn success(body: &str, outcome: &Outcome) -> Result<Zeroizing<Vec<u8>>, ReplyFault> {
    let own = render::outcome(outcome).ok_or(ReplyFault::Differs)?;
    let equal = match outcome {
        Outcome::Plaintext(_) => own.as_slice().ct_eq(body.as_bytes()).into(),
        _ => own.as_slice() == body.as_bytes(),
    };
    if equal {
        return Ok(own);
    }
    let object = strict::object(body.as_bytes()).map_err(|_| ReplyFault::Json)?;
    if says(&object, outcome) { Ok(own) } else { Err(ReplyFault::Differs) }
}

/// An error of the specification: `errorName` with its status, and a printable `errorMessage` under 512 characters.
/// 405 is the one status without a name of its own: the specification only asks for the status (checklist T2).
fn error(status: u16, body: &str) -> Result<(ErrorName, String), ReplyFault> {
    let object = strict::object(body.as_bytes()).map_err(|_| ReplyFault::Json)?;
    let name = strict::get(&object, "errorName").and_then(Value::as_text).and_then(ErrorName::from_text);
    let name = name.ok_or(ReplyFault::Error)?;
    let status_fits = name.status() == status || (status == 405 && name == ErrorName::InvalidUriPath);
    let message = match strict::get(&object, "errorMessage") {
        None => "",
        Some(value) => value.as_text().ok_or(ReplyFault::Error)?,
    };
    let printable = message.len() < MESSAGE_LIMIT && message.bytes().all(|b| (0x20..=0x7e).contains(&b));
    let only_these = object.iter().all(|(n, _)| matches!(n.as_ref(), "errorName" | "errorMessage"));
    if status_fits && printable && only_these {
        Ok((name, message.to_owned()))
    } else {
        Err(ReplyFault::Error)
    }
}

fn says(object: &Object<'_>, outcome: &Outcome) -> bool {
    let text = |name: &str, is: &str| strict::get(object, name).and_then(Value::as_text) == Some(is);
    let bytes = |name: &str, is: &[u8]| is_base64_of(strict::get(object, name), is);
    match outcome {
        Outcome::Nothing => false,
        Outcome::Plaintext(plaintext) => object.len() == 1 && bytes("plaintext", plaintext),
        Outcome::Encrypted(e) => {
            let optional = |name: &str, is: Option<&[u8]>| match is {
                Some(is) => bytes(name, is),
                None => strict::get(object, name).is_none(),
            };
            let metadata = (!e.metadata.is_empty()).then_some(e.metadata.as_slice());
            let cdiv = e.cdiv.as_ref().map(<[u8; 32]>::as_slice);
            object.len() == 3 + usize::from(metadata.is_some()) + usize::from(cdiv.is_some())
                && bytes("ciphertext", &e.ciphertext)
                && bytes("initializationVector", &e.iv)
                && bytes("authenticationTag", &e.tag)
                && optional("ciphertextMetadata", metadata)
                && optional("ciphertextDataIntegrityValue", cdiv)
        }
        Outcome::KeyMetadata(m) => {
            object.len() == 3
                && text("keySpec", &m.key_spec)
                && text("keyStatus", if m.enabled { "ENABLED" } else { "DISABLED" })
                && matches!(strict::get(object, "keyUsage"), Some(Value::Array(usages))
                    if usages.iter().map(Value::as_text).eq(m.key_usage.iter().map(|u| Some(u.as_str()))))
        }
        Outcome::Health(h) => {
            object.len() == 5
                && matches!(strict::get(object, "xksProxyFleetSize"), Some(Value::Number(n))
                    if n.as_u64() == Some(h.fleet_size.into()))
                && text("xksProxyVendor", &h.vendor)
                && text("xksProxyModel", &h.model)
                && text("ekmVendor", &h.ekm_vendor)
                && matches!(strict::get(object, "ekmFleetDetails"), Some(Value::Array(fleet))
                    if fleet.len() == h.fleet.len()
                        && fleet.iter().zip(&h.fleet).all(|(value, manager)| is_key_manager(value, manager)))
        }
    }
}

fn is_key_manager(value: &Value<'_>, manager: &KeyManager) -> bool {
    let Value::Object(object) = value else { return false };
    let text = |name: &str, is: &str| strict::get(object, name).and_then(Value::as_text) == Some(is);
    object.len() == 3
        && text("id", &manager.id)
        && text("model", &manager.model)
        && text("healthStatus", manager.status.as_str())
}

/// Compares without an early end, as `is` may be plaintext.
fn is_base64_of(value: Option<&Value<'_>>, is: &[u8]) -> bool {
    let Some(text) = value.and_then(Value::as_text) else { return false };
    let expected = Zeroizing::new(STANDARD.encode(is));
    text.as_bytes().ct_eq(expected.as_bytes()).into()
}

#[cfg(test)]
mod tests;
