//! What surrounds AES-GCM in the XKS specification: the framing of the AAD and the data integrity value.

use crate::error::{ErrorName, Refusal};
use sha2::{Digest, Sha256};

/// The longest AAD in bytes: its length has two bytes in the framing.
pub const AAD_LIMIT: usize = 65_535;
/// The longest ciphertextMetadata in bytes (spec, section "Encrypt").
pub const METADATA_LIMIT: usize = 20;

/// The AAD given to AES-GCM: `len16be(aad) || aad || len8(metadata) || metadata` (checklist O3). Both parts must be
/// within their limits, which the strict reading of the body has checked; longer ones are refused here too.
pub fn frame_aad(aad: &[u8], metadata: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (Ok(aad_len), Ok(metadata_len)) = (u16::try_from(aad.len()), u8::try_from(metadata.len())) else {
        return Err(Refusal::new(
            ErrorName::UnsupportedOperation,
            "additionalAuthenticatedData is longer than 65535 bytes",
        ));
    };
    let mut framed = Vec::with_capacity(3 + aad.len() + metadata.len());
    framed.extend_from_slice(&aad_len.to_be_bytes());
    framed.extend_from_slice(aad);
    framed.push(metadata_len);
    framed.extend_from_slice(metadata);
    Ok(framed)
}

/// The ciphertext data integrity value: SHA-256 over AAD, metadata, IV, ciphertext and tag (spec, Appendix C). It
/// is of what was there before the decryption that verified it, or a bit that flips between the two goes unseen
/// ([`crate::backend::Verified`] makes sure of that).
pub fn cdiv(aad: &[u8], metadata: &[u8], iv: &[u8], ciphertext: &[u8], tag: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [aad, metadata, iv, ciphertext, tag] {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn o3_aad_and_metadata_are_framed_with_their_lengths() {
        assert_eq!(frame_aad(b"", b"").unwrap(), [0, 0, 0]);
        assert_eq!(frame_aad(b"ab", b"c").unwrap(), [0, 2, b'a', b'b', 1, b'c']);
        assert_eq!(&frame_aad(&[7; 65_535], b"").unwrap()[..3], [0xff, 0xff, 7]);
        assert_eq!(frame_aad(&[7; 65_536], b"").unwrap_err().name, ErrorName::UnsupportedOperation);
    }

    /// The worked example of the specification, Appendix C.
    #[test]
    fn o4_the_specifications_example() {
        let decode = |text: &str| STANDARD.decode(text).unwrap();
        let value = cdiv(
            &decode("cHJvamVjdD1uaWxlLGRlcGFydG1lbnQ9bWFya2V0aW5n"),
            &decode("a2V5X3ZlcnNpb249MQ=="),
            &decode("HMrlRw85cAJUd5Ax"),
            &decode("ghxkK1txeDNn3q8Y"),
            &decode("vBxN2ncH1oEkR8WVXpmyYQ=="),
        );
        assert_eq!(STANDARD.encode(value), "qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=");
    }
}
