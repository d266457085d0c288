//! The record of another policy coming into force.

use super::record::{Line, rfc3339};
use crate::policy::life::Change;
use crate::policy::registry::Cause;
use std::time::SystemTime;

/// One line, with its line feed. Written before the policy decides.
pub fn policy_change(change: &Change) -> String {
    let mut line = Line::start();
    line.text("type", "policy-change");
    line.text("time", &rfc3339(SystemTime::now()));
    line.text("keyStore", &change.key_store);
    line.raw("activation", &change.activation.to_string());
    // Absent where the configuration's policy is in force again.
    line.optional("artefact", change.artefact.as_deref());
    let cause = match change.cause {
        Cause::Activate => "activate",
        Cause::Rollback => "rollback",
        Cause::AutomaticRollback => "automatic-rollback",
    };
    line.text("cause", cause);
    line.text("by", &change.by);
    line.finish()
}
