//! How a key store stands: what GetHealthStatus, `/ping`, the metrics and the log say of it, all from here.

use super::key_store::KeyStore;
use holdfast_gate::reply::{HealthStatus, KeyManager};

/// What an Encrypt right after it would find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The best that its key managers can do.
    pub status: HealthStatus,
    /// Why it isn't `ACTIVE`, each for itself.
    pub why: Vec<String>,
}

impl KeyStore {
    /// Its key managers. None of them serves while the policy can't be loaded: every operation with a key is refused.
    pub fn managers(&self) -> Vec<KeyManager> {
        let mut managers = self.backend.fleet();
        if self.is_undecided() {
            managers.iter_mut().for_each(|manager| manager.status = HealthStatus::Unavailable);
        }
        managers
    }

    /// Whether its policy can't be loaded.
    pub fn is_undecided(&self) -> bool {
        self.policy.get().is_some_and(|active| active.unusable.is_some())
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        let mut why = self.backend.troubles();
        if self.is_undecided() {
            why.insert(0, "its policy can't be loaded (`holdfast policy status` says why)".to_owned());
        }
        let managers = self.managers();
        let all = |status| managers.iter().all(|manager| manager.status == status);
        let status = match managers.is_empty() || all(HealthStatus::Unavailable) {
            true => HealthStatus::Unavailable,
            false if all(HealthStatus::Active) => HealthStatus::Active,
            false => HealthStatus::Degraded,
        };
        Standing { status, why }
    }
}
