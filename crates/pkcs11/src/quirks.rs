//! How HSMs differ, as named settings.

/// What an HSM does in its own way. The default is what PKCS#11 says and most do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// The mechanism's number: `CKM_AES_GCM`, or a vendor's own for the same.
    pub mechanism: u64,
    /// Who makes the IV, and where it comes back.
    pub iv: IvSource,
    /// The form of `CK_GCM_PARAMS`.
    pub parameters: GcmParameters,
    /// Where the tag stands.
    pub tag: TagPlace,
    /// Whether the module may be called by several threads at once. If not, one call at a time.
    pub thread_safe: bool,
}

impl Default for Quirks {
    fn default() -> Quirks {
        Quirks {
            mechanism: cryptoki_sys::CKM_AES_GCM,
            iv: IvSource::Host,
            parameters: GcmParameters::Standard,
            tag: TagPlace::Appended,
            thread_safe: true,
        }
    }
}

/// Who makes the IV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IvSource {
    /// The host: 12 random bytes.
    Host,
    /// The HSM, by the message functions of PKCS#11 3.0 with `CKG_GENERATE_RANDOM`.
    Message,
    /// The HSM, which writes it over the 12 zero bytes in the parameters.
    Parameters,
    /// The HSM, which puts it before the ciphertext, and wants it there for a decryption.
    Prepended,
    /// The HSM, which puts it after the tag.
    Appended,
}

/// The form of `CK_GCM_PARAMS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcmParameters {
    /// `ulIvBits` is the IV's length in bits.
    Standard,
    /// `ulIvBits` is 0.
    IvBitsZero,
    /// There is no `ulIvBits`: 2.40 as its text has it.
    WithoutIvBits,
}

/// Where the tag stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagPlace {
    /// After the ciphertext.
    Appended,
    /// In the parameters of the message functions of PKCS#11 3.0, which encrypt and decrypt then.
    Apart,
}
