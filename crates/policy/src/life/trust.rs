//! Whose artefacts may decide: those whose signatures the configuration trusts now, and not only when they were staged.

use crate::life::distrust::Distrust;
use crate::life::error::LifeError;
use crate::life::lifecycle::{Lifecycle, Settings};
use crate::life::registry::{RegistryError, Staged, State};

impl Settings {
    /// Why this artefact couldn't be staged now, if that is because of its signature.
    pub(super) fn distrust(&self, staged: &Staged) -> Option<Distrust> {
        match &staged.signer {
            Some(signer) if self.trusted_keys.ids().any(|id| id == signer) => None,
            Some(signer) => Some(Distrust::Signer(signer.clone())),
            None if self.allow_unsigned => None,
            None => Some(Distrust::Unsigned),
        }
    }

    /// The same of the artefact with this digest, as far as it is known.
    pub(super) fn distrust_of(&self, state: &State, digest: &str) -> Option<Distrust> {
        state.staged(digest).and_then(|staged| self.distrust(staged))
    }
}

impl Lifecycle {
    /// Lets no artefact pass that isn't trusted now.
    pub(super) fn check_trust(&self, state: &State, digest: &str) -> Result<(), LifeError> {
        let lost = || RegistryError::Lost { digest: digest.to_owned() };
        match self.settings.distrust(state.staged(digest).ok_or_else(lost)?) {
            None => Ok(()),
            Some(why) => Err(LifeError::Untrusted { artefact: digest.to_owned(), why }),
        }
    }
}

/// Tells of artefacts in force that couldn't be activated now. They stay: a host that refuses everything because a key was
/// taken out would be an outage, and which policy should decide instead is the operator's to say.
pub(super) fn tell_of_untrusted(key_store: &str, artefact: &str, why: &Distrust) {
    tracing::error!(
        key_store,
        artefact,
        %why,
        "THE POLICY IN FORCE ISN'T TRUSTED NOW and stays in force; stage it again with the signature of a trusted key, or \
         activate another one"
    );
}
