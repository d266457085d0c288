//! What the gate did.

use zeroize::Zeroizing;

/// The result that the gate recorded for a request, which a 200 must repeat.
pub enum Outcome {
    /// Nothing was done, so nothing may be reported as done.
    Nothing,
    /// Of GetHealthStatus.
    Health(Health),
    /// Of GetKeyMetadata.
    KeyMetadata(KeyMetadata),
    /// Of Encrypt.
    Encrypted(Encrypted),
    /// Of Decrypt.
    Plaintext(Zeroizing<Vec<u8>>),
}

/// The answer of GetHealthStatus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `xksProxyFleetSize`, over 0.
    pub fleet_size: u32,
    /// `xksProxyVendor`.
    pub vendor: String,
    /// `xksProxyModel`, with the version.
    pub model: String,
    /// `ekmVendor`.
    pub ekm_vendor: String,
    /// `ekmFleetDetails`, one to ten.
    pub fleet: Vec<KeyManager>,
}

/// One entry of `ekmFleetDetails`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyManager {
    /// Unique in the fleet.
    pub id: String,
    /// With version.
    pub model: String,
    /// Whether it can serve.
    pub status: HealthStatus,
}

/// `healthStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthStatus {
    /// `ACTIVE`: encrypts and decrypts.
    Active,
    /// `DEGRADED`: unhealthy, but serving.
    Degraded,
    /// `UNAVAILABLE`: can't serve.
    Unavailable,
}

impl HealthStatus {
    /// As the specification spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Active => "ACTIVE",
            HealthStatus::Degraded => "DEGRADED",
            HealthStatus::Unavailable => "UNAVAILABLE",
        }
    }
}

/// The answer of GetKeyMetadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMetadata {
    /// `AES_256`.
    pub key_spec: String,
    /// At most ten, such as `ENCRYPT`.
    pub key_usage: Vec<String>,
    /// `ENABLED` or `DISABLED`.
    pub enabled: bool,
}

/// The answer of Encrypt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// As long as the plaintext.
    pub ciphertext: Vec<u8>,
    /// 12 or 16 bytes.
    pub iv: Vec<u8>,
    /// 16 bytes.
    pub tag: Vec<u8>,
    /// At most 20 bytes; empty where absent.
    pub metadata: Vec<u8>,
    /// Where asked for.
    pub cdiv: Option<[u8; 32]>,
}
