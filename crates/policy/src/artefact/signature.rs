//! Signatures of artefacts in minisign's format (<https://jedisct1.github.io/minisign/>), prehashed Ed25519.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{PublicKey, Signature};

/// What a signature file's name ends with, after the artefact's whole name.
pub const SIGNATURE_SUFFIX: &str = ".minisig";

/// Why a signature doesn't count.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A configured key can't be read.
    #[error("{0:?} isn't a minisign public key (the line that begins with RW, 56 characters)")]
    Key(String),
    /// The signature file can't be read.
    #[error("the signature isn't in minisign's format: {0}")]
    Format(String),
    /// By nobody that is trusted.
    #[error("it is signed by key {signer}, which isn't trusted; trusted are {trusted}")]
    Untrusted {
        /// The key id in the signature.
        signer: String,
        /// The trusted keys' ids, or `none`.
        trusted: String,
    },
    /// Something was changed, or the signature is of something else.
    #[error("the signature by key {0} doesn't fit the file: one of the two was changed")]
    Wrong(String),
}

/// Keys whose signatures count.
#[derive(Clone, Default)]
pub struct TrustedKeys(Vec<(String, PublicKey)>);

impl std::fmt::Debug for TrustedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl TrustedKeys {
    /// Reads public keys as minisign prints them: the line of Base64, or a whole `.pub` file.
    pub fn parse<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<TrustedKeys, SignatureError> {
        let read = |text: &str| {
            let line = text.trim().lines().last().unwrap_or_default().trim();
            let wrong = || SignatureError::Key(line.to_owned());
            let key = PublicKey::from_base64(line).map_err(|_| wrong())?;
            let id = key_id(line).ok_or_else(wrong)?;
            Ok((id, key))
        };
        Ok(TrustedKeys(keys.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Whether no key is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys' ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, _)| id.as_str())
    }

    /// Checks an artefact's signature; gives the id of the key that signed.
    pub fn verify(&self, artefact: &[u8], signature: &str) -> Result<String, SignatureError> {
        let signer = signer(signature)?;
        let read = Signature::decode(signature).map_err(|error| SignatureError::Format(error.to_string()))?;
        let mut known = self.0.iter().filter(|(id, _)| *id == signer).peekable();
        if known.peek().is_none() {
            let ids: Vec<&str> = self.ids().collect();
            let trusted = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
            return Err(SignatureError::Untrusted { signer, trusted });
        }
        // Legacy signatures, of the file itself instead of its hash, aren't taken.
        match known.any(|(_, key)| key.verify(artefact, &read, false).is_ok()) {
            true => Ok(signer),
            false => Err(SignatureError::Wrong(signer)),
        }
    }
}

/// The id of the key that a signature says it is by; nothing is checked.
pub fn signer(signature: &str) -> Result<String, SignatureError> {
    let line =
        signature.lines().nth(1).ok_or_else(|| SignatureError::Format("it has no second line".into()))?;
    key_id(line).ok_or_else(|| SignatureError::Format("its second line isn't a signature".into()))
}

/// Two bytes of algorithm, eight of the id, which minisign shows as a little-endian number.
fn key_id(line: &str) -> Option<String> {
    let bytes = STANDARD.decode(line.trim()).ok()?;
    let id: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use minisign::KeyPair;

    fn pair() -> (KeyPair, String) {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let public = pair.pk.to_base64();
        (pair, public)
    }

    fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
        minisign::sign(None, &pair.sk, bytes, Some("artefact"), None).unwrap().into_string()
    }

    #[test]
    fn a_trusted_keys_signature_counts_and_names_its_key() {
        let ((one, one_public), (_, other_public)) = (pair(), pair());
        let keys = TrustedKeys::parse([other_public.as_str(), one_public.as_str()]).unwrap();
        let id = keys.verify(b"artefact", &sign(&one, b"artefact")).unwrap();
        assert_eq!(keys.ids().nth(1), Some(id.as_str()));
        let file = format!("untrusted comment: minisign public key\n{one_public}\n");
        assert!(
            TrustedKeys::parse([file.as_str()])
                .unwrap()
                .verify(b"artefact", &sign(&one, b"artefact"))
                .is_ok()
        );
    }

    #[test]
    fn nothing_else_counts() {
        let ((one, public), (other, _)) = (pair(), pair());
        let keys = TrustedKeys::parse([public.as_str()]).unwrap();
        let good = sign(&one, b"artefact");
        assert!(matches!(keys.verify(b"artefacT", &good), Err(SignatureError::Wrong(_))));
        let comment = good.replace("trusted comment: artefact", "trusted comment: another");
        assert!(matches!(keys.verify(b"artefact", &comment), Err(SignatureError::Wrong(_))));
        let stranger = sign(&other, b"artefact");
        assert!(matches!(keys.verify(b"artefact", &stranger), Err(SignatureError::Untrusted { .. })));
        assert!(matches!(
            TrustedKeys::default().verify(b"artefact", &good),
            Err(SignatureError::Untrusted { .. })
        ));
        for text in ["", "one line", "a\nb\nc\nd", "a\n\n\n\n"] {
            assert!(matches!(keys.verify(b"artefact", text), Err(SignatureError::Format(_))), "{text:?}");
        }
        assert!(matches!(TrustedKeys::parse(["RWnot"]), Err(SignatureError::Key(_))));
    }
}
