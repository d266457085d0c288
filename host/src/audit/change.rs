//! The records of changes of policy.

use super::record::{Line, rfc3339};
use holdfast_policy::life::Cause;
use holdfast_policy::life::Told;
use std::time::SystemTime;

/// One line, with its line feed. That a change comes is written before the policy decides.
pub fn policy_change(told: &Told) -> String {
    let (name, change, reason) = match told {
        Told::Coming(change) => ("policy-change", change, None),
        Told::NotMade { change, reason } => ("policy-change-not-made", change, Some(reason.as_str())),
    };
    let mut line = Line::start();
    line.text("type", name);
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
    line.optional("reason", reason);
    line.finish()
}
