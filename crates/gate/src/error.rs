//! The errors of the XKS specification (section "Error codes") and what carries them.

use std::borrow::Cow;
use std::fmt;

/// An `errorName` of the specification, with the HTTP status that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorName {
    /// 400 ValidationException.
    Validation,
    /// 400 InvalidStateException.
    InvalidState,
    /// 400 InvalidCiphertextException.
    InvalidCiphertext,
    /// 400 InvalidKeyUsageException.
    InvalidKeyUsage,
    /// 401 AuthenticationFailedException.
    AuthenticationFailed,
    /// 403 AccessDeniedException.
    AccessDenied,
    /// 404 KeyNotFoundException.
    KeyNotFound,
    /// 404 InvalidUriPathException.
    InvalidUriPath,
    /// 429 ThrottlingException.
    Throttling,
    /// 500 InternalException.
    Internal,
    /// 501 UnsupportedOperationException.
    UnsupportedOperation,
    /// 503 DependencyTimeoutException.
    DependencyTimeout,
}

impl ErrorName {
    /// All of them, in the order of their statuses.
    pub const ALL: [ErrorName; 12] = [
        ErrorName::Validation,
        ErrorName::InvalidState,
        ErrorName::InvalidCiphertext,
        ErrorName::InvalidKeyUsage,
        ErrorName::AuthenticationFailed,
        ErrorName::AccessDenied,
        ErrorName::KeyNotFound,
        ErrorName::InvalidUriPath,
        ErrorName::Throttling,
        ErrorName::Internal,
        ErrorName::UnsupportedOperation,
        ErrorName::DependencyTimeout,
    ];

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            ErrorName::Validation
            | ErrorName::InvalidState
            | ErrorName::InvalidCiphertext
            | ErrorName::InvalidKeyUsage => 400,
            ErrorName::AuthenticationFailed => 401,
            ErrorName::AccessDenied => 403,
            ErrorName::KeyNotFound | ErrorName::InvalidUriPath => 404,
            ErrorName::Throttling => 429,
            ErrorName::Internal => 500,
            ErrorName::UnsupportedOperation => 501,
            ErrorName::DependencyTimeout => 503,
        }
    }

    /// The text of `errorName`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorName::Validation => "ValidationException",
            ErrorName::InvalidState => "InvalidStateException",
            ErrorName::InvalidCiphertext => "InvalidCiphertextException",
            ErrorName::InvalidKeyUsage => "InvalidKeyUsageException",
            ErrorName::AuthenticationFailed => "AuthenticationFailedException",
            ErrorName::AccessDenied => "AccessDeniedException",
            ErrorName::KeyNotFound => "KeyNotFoundException",
            ErrorName::InvalidUriPath => "InvalidUriPathException",
            ErrorName::Throttling => "ThrottlingException",
            ErrorName::Internal => "InternalException",
            ErrorName::UnsupportedOperation => "UnsupportedOperationException",
            ErrorName::DependencyTimeout => "DependencyTimeoutException",
        }
    }

    /// What a client is told when there is nothing more exact to say.
    pub const fn message(self) -> &'static str {
        match self {
            ErrorName::Validation => {
                "the body is not what this API takes; compare its fields with the XKS proxy API specification"
            }
            ErrorName::InvalidState => "the key or its key store is not in a state for this; check both",
            ErrorName::InvalidCiphertext => {
                "the ciphertext can't be decrypted: it, or what was authenticated with it, is not what was encrypted"
            }
            ErrorName::InvalidKeyUsage => "the key is not for this operation; check its usage",
            ErrorName::AuthenticationFailed => {
                "the request is not authenticated; check its signature and credential"
            }
            ErrorName::AccessDenied => "the request is not allowed",
            ErrorName::KeyNotFound => "this key store has no such key; check the external key id",
            ErrorName::InvalidUriPath => "no such API; check the path and the XksProxyUriPath",
            ErrorName::Throttling => "too many requests; try again",
            ErrorName::Internal => "the request could not be processed; see the proxy's log",
            ErrorName::UnsupportedOperation => "this proxy does not support what the request asks for",
            ErrorName::DependencyTimeout => "the key manager did not answer in time; try again",
        }
    }

    /// The name that `text` spells, if any.
    pub fn from_text(text: &str) -> Option<ErrorName> {
        ErrorName::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request is not done, and why. The message goes to the client: it says what to do and never holds secrets,
/// plaintext or an expected signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct Refusal {
    /// Which error of the specification.
    pub name: ErrorName,
    /// Printable ASCII, under 512 characters.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a fixed message.
    pub const fn new(name: ErrorName, message: &'static str) -> Refusal {
        Refusal { name, message: Cow::Borrowed(message) }
    }

    /// A refusal with a message made for the occasion; what isn't printable ASCII becomes `?`, and it is cut at 511.
    pub fn with(name: ErrorName, message: impl Into<String>) -> Refusal {
        Refusal { name, message: Cow::Owned(printable(&message.into())) }
    }

    /// The JSON body of the answer.
    pub fn to_json(&self) -> String {
        error_body(self.name.as_str(), &self.message)
    }
}

/// The JSON body of an error. `name` and `message` must be printable ASCII.
pub fn error_body(name: &str, message: &str) -> String {
    let mut body = String::with_capacity(40 + name.len() + message.len());
    body.push_str("{\"errorName\":\"");
    body.push_str(name);
    body.push_str("\",\"errorMessage\":\"");
    for c in message.chars() {
        if matches!(c, '"' | '\\') {
            body.push('\\');
        }
        body.push(c);
    }
    body.push_str("\"}");
    body
}

/// The length that a message must stay under (spec, section "Error codes").
pub const MESSAGE_LIMIT: usize = 512;

/// `text` as an errorMessage may be: printable ASCII (0x20 to 0x7e), under 512 characters.
pub fn printable(text: &str) -> String {
    text.chars().take(MESSAGE_LIMIT - 1).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_text() {
        for name in ErrorName::ALL {
            assert_eq!(ErrorName::from_text(name.as_str()), Some(name));
            assert_eq!(printable(name.message()), name.message());
        }
        assert_eq!(ErrorName::from_text("NoSuchException"), None);
    }

    #[test]
    fn an_error_body_is_json_whatever_the_message() {
        let refusal = Refusal::with(ErrorName::Validation, "a \"quoted\" \\ name\u{e9}\n");
        let body: serde_json::Value = serde_json::from_str(&refusal.to_json()).unwrap();
        assert_eq!(body["errorName"], "ValidationException");
        assert_eq!(body["errorMessage"], "a \"quoted\" \\ name??");
        assert!(Refusal::with(ErrorName::Internal, "x".repeat(9000)).message.len() < MESSAGE_LIMIT);
    }
}
