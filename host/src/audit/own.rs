//! Records of the log itself.

use super::record::{Line, rfc3339};
use std::time::SystemTime;

/// A record of the log itself.
pub(super) fn line_of(kind: &str) -> String {
    let mut line = Line::start();
    line.text("type", kind);
    line.text("time", &rfc3339(SystemTime::now()));
    line.finish()
}

/// Says that the answer of a record that stands in the log didn't leave: the request was refused, as its record took too long.
pub(super) fn withheld(record: &str) -> String {
    let record: serde_json::Value = serde_json::from_str(record).unwrap_or_default();
    let mut line = Line::start();
    line.text("type", "answer-withheld");
    line.text("time", &rfc3339(SystemTime::now()));
    for (name, value) in
        [("keyStore", &record["keyStore"]), ("kmsRequestId", &record["requestMetadata"]["kmsRequestId"])]
    {
        if let Some(text) = value.as_str() {
            line.text(name, text);
        }
    }
    line.finish()
}
