//! Ciphertexts of AWS's sample proxy (aws-samples/aws-kms-xks-proxy): it gives AES-GCM, as additional authenticated data,
//! `len16be(AAD) || SHA-256(AAD) || len8(metadata) || metadata`, where the specification has the AAD itself; an absent AAD has
//! no hash. Its ciphertextMetadata is a fixed value of the operator, or none.

use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What may have been authenticated. Requests don't tell an empty AAD from an absent one, so there may be two.
pub(super) fn frames(aad: &[u8], metadata: &[u8]) -> Vec<Arc<[u8]>> {
    let (Ok(aad_len), Ok(metadata_len)) = (u16::try_from(aad.len()), u8::try_from(metadata.len())) else {
        return Vec::new();
    };
    let frame =
        |hash: &[u8]| Arc::from([aad_len.to_be_bytes().as_slice(), hash, &[metadata_len], metadata].concat());
    let hashed = frame(&Sha256::digest(aad));
    if aad.is_empty() { vec![frame(&[]), hashed] } else { vec![hashed] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_stands_for_the_aad_but_the_length_is_the_aads() {
        let frames = frames(b"abc", b"v0.0.1");
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash: Vec<u8> =
            (0..32).map(|i| u8::from_str_radix(&hash[2 * i..2 * i + 2], 16).unwrap()).collect();
        let expected = [[0, 3].as_slice(), &hash, &[6], b"v0.0.1"].concat();
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0][..], expected[..]);
    }

    #[test]
    fn no_aad_may_be_absent_or_empty() {
        let frames = frames(b"", b"");
        assert_eq!(frames[0][..], [0, 0, 0]);
        assert_eq!(frames[1].len(), 2 + 32 + 1);
    }
}
