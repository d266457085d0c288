//! A fleet of HSMs as a backend.

use super::{BackendError, Done, KeyBackend, Made, Sealed, Served};
use holdfast_gate::aead::frame_aad;
use holdfast_gate::backend::aes_256;
use holdfast_gate::body::DecryptInputs;
use holdfast_gate::reply::{HealthStatus, KeyManager, KeyMetadata};
use holdfast_pkcs11::{Fleet, Status};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What is left of a request's budget when its HSM is given up: enough to refuse, and to record that.
const RESERVE: Duration = Duration::from_millis(5);

/// The HSMs of one key store.
pub struct HsmBackend {
    fleet: Fleet,
}

impl HsmBackend {
    /// Of a fleet at work.
    pub fn new(fleet: Fleet) -> HsmBackend {
        HsmBackend { fleet }
    }

    /// Waits until each HSM was checked, or the time has come, and tells how they are.
    pub fn wait_for_first_checks(&self, key_store: &str, until: Instant) {
        self.fleet.wait_for_first_checks(until.saturating_duration_since(Instant::now()));
        for hsm in self.fleet.health() {
            tracing::info!(key_store, hsm = hsm.name, model = hsm.model, serial = hsm.serial, status = ?hsm.status, "HSM");
        }
    }
}

impl KeyBackend for HsmBackend {
    fn vendor(&self) -> String {
        "PKCS#11".into()
    }

    fn fleet(&self) -> Vec<KeyManager> {
        let manager = |health: holdfast_pkcs11::Health| KeyManager {
            model: match (health.model.as_str(), health.firmware.as_str()) {
                ("", _) => "not connected yet".into(),
                (model, "") => model.to_owned(),
                (model, firmware) => format!("{model} {firmware}"),
            },
            id: match health.serial.as_str() {
                "" => health.name,
                serial => format!("{} {serial}", health.name),
            },
            status: match health.status {
                Status::Active => HealthStatus::Active,
                Status::Degraded(_) => HealthStatus::Degraded,
                Status::Unavailable(_) => HealthStatus::Unavailable,
            },
        };
        self.fleet.health().into_iter().map(manager).collect()
    }

    fn troubles(&self) -> Vec<String> {
        let trouble = |health: holdfast_pkcs11::Health| match health.status {
            Status::Active => None,
            Status::Degraded(why) => Some(format!("HSM {} is DEGRADED: {why}", health.name)),
            Status::Unavailable(why) => Some(format!("HSM {} is UNAVAILABLE: {why}", health.name)),
        };
        self.fleet.health().into_iter().filter_map(trouble).collect()
    }

    fn key_metadata<'a>(&'a self, key_id: &'a str) -> Done<'a, Served<KeyMetadata>> {
        let described = self.fleet.describe(key_id);
        let described = described.map(|key| Served {
            value: aes_256(key.encrypt, key.decrypt, key.enabled),
            // It is known from the last listing of keys.
            by: None,
        });
        Box::pin(std::future::ready(described))
    }

    fn encrypt<'a>(
        &'a self,
        key_id: &'a str,
        plaintext: &'a [u8],
        aad: &'a [u8],
        verify: bool,
        deadline: Instant,
    ) -> Done<'a, Served<Made>> {
        Box::pin(async move {
            // The length was checked with the body, and the metadata's is fixed.
            let mut too_long = None;
            let frame = |metadata: &[u8]| {
                frame_aad(aad, metadata).unwrap_or_else(|refusal| {
                    too_long = Some(BackendError::TooLong(refusal.message.into_owned()));
                    Vec::new()
                })
            };
            let made = self.fleet.encrypt(key_id, plaintext, frame, verify, deadline - RESERVE);
            let holdfast_pkcs11::Encrypted { ciphertext, iv, tag, metadata, verified, hsm } = made.await?;
            match too_long {
                Some(error) => Err(error),
                None => Ok(Served {
                    value: Made { sealed: Sealed { ciphertext, iv, tag, metadata }, verified },
                    by: Some(hsm),
                }),
            }
        })
    }

    fn decrypt<'a>(
        &'a self,
        key_id: &'a str,
        inputs: &'a DecryptInputs,
        deadline: Instant,
    ) -> Done<'a, Served<Zeroizing<Vec<u8>>>> {
        Box::pin(async move {
            let framed = frame_aad(&inputs.aad, &inputs.metadata)
                .map_err(|refusal| BackendError::TooLong(refusal.message.into_owned()))?;
            let sealed = holdfast_pkcs11::Sealed {
                ciphertext: &inputs.ciphertext,
                iv: &inputs.iv,
                tag: &inputs.tag,
                metadata: &inputs.metadata,
            };
            let opened = self.fleet.decrypt(key_id, sealed, &inputs.aad, &framed, deadline - RESERVE);
            let opened = opened.await?;
            Ok(Served { value: opened.plaintext, by: Some(opened.hsm) })
        })
    }

    /// The fleet checks its HSMs by itself.
    fn check(&self) {}

    fn module_errors(&self) -> Vec<(String, u64)> {
        self.fleet.health().into_iter().map(|health| (health.name, health.errors)).collect()
    }

    fn look_again(&self) {
        self.fleet.check_now();
    }

    fn bad_ivs(&self) -> Vec<(String, u64)> {
        self.fleet.health().into_iter().map(|health| (health.name, health.bad_ivs)).collect()
    }
}
