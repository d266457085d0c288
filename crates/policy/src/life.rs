//! The life of policies in a running host: staged, tried in the shadow, activated, and taken back.

mod activate;
pub(crate) mod active;
mod automatic;
mod change;
mod checker;
mod distrust;
mod error;
mod lifecycle;
mod loading;
pub(crate) mod probation;
mod record;
pub(crate) mod registry;
mod selection;
pub(crate) mod shadow;
mod shadowing;
mod stage;
mod standing;
mod start;
mod time;
mod trust;
mod unusable;
mod warm;

pub use activate::Activated;
pub use active::{Active, Origin, PolicySlot};
pub use automatic::keep_rolling_back;
pub use change::{Change, Record, RecordError, Recording, Told};
pub use checker::{COMMAND as CHECKER, Checked, CheckerError, run_checker};
pub use distrust::Distrust;
pub use error::LifeError;
pub use lifecycle::{Configured, Lifecycle, Read, Settings};
pub use probation::{AutomaticRollback, Failed};
pub use registry::{Activation, Cause, Staged};
pub use selection::Selection;
pub use shadow::{Difference, Group, Shadow, ShadowCounts};
pub use stage::StageReport;
pub use standing::{KeyStoreStanding, Standing, Watched};

#[cfg(test)]
mod tests;
