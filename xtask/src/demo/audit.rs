//! The audit log, shortened for the eye. docs/operations.md describes the whole of a record.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result, file};
use crate::report::{dim, good};

/// How many records are shown.
const SHOWN: usize = 8;

/// Shows the first records, and the one denial in full; it must name the rule.
pub fn show(log: &Path, rule: &str) -> Result<()> {
    let text = std::fs::read_to_string(log).map_err(file("can't read", log))?;
    let records: Vec<(&str, Value)> =
        text.lines().map(|line| (line, serde_json::from_str(line).unwrap_or_default())).collect();
    records.iter().take(SHOWN).for_each(|(_, record)| println!("   {}", shortened(record)));
    if records.len() > SHOWN {
        println!("   {}", dim(format!("and {} more like these", records.len() - SHOWN)));
    }
    let denial = records.iter().find(|(_, record)| {
        let rules = record["policy"]["rules"].as_array();
        record["errorName"] == "AccessDeniedException"
            && rules.is_some_and(|rules| rules.iter().any(|r| r == rule))
    });
    let Some((line, _)) = denial else {
        return Err(Error::Unexpected(format!("no audit record has a denial by the rule {rule}")));
    };
    println!("   {} the denial, by rule {rule} of policy.cedar; the whole record:", good("found:"));
    println!("   {line}");
    Ok(())
}

/// Shows the counts of requests that failed before authentication.
pub fn show_counts(log: &Path) -> Result<()> {
    let text = std::fs::read_to_string(log).map_err(file("can't read", log))?;
    text.lines()
        .filter(|line| line.contains("authentication-failures"))
        .for_each(|line| println!("   {line}"));
    Ok(())
}

/// `12:00:01.123 Decrypt demo by PRINCIPAL: 403 AccessDeniedException, deny by no-root-users, 0.210 ms`
fn shortened(record: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(kind) = record["type"].as_str() {
        return format!("{kind}: {} x {}", record["count"], text(&record["fault"]));
    }
    let time = text(&record["time"]);
    let mut line = format!("{} {}", time.get(11..23).unwrap_or(&time), text(&record["operation"]));
    if let Some(key) = record["keyId"].as_str() {
        line += &format!(" {key}");
    }
    if let Some(principal) = record["requestMetadata"]["awsPrincipalArn"].as_str() {
        line += &format!(" by {principal}");
    }
    line += &format!(": {}", record["status"]);
    if let Some(name) = record["errorName"].as_str() {
        line += &format!(" {name}");
    }
    if let Some(effect) = record["policy"]["effect"].as_str() {
        let rules = record["policy"]["rules"].as_array().into_iter().flatten();
        let rules: Vec<&str> = rules.filter_map(Value::as_str).collect();
        line +=
            &format!(", {effect} by {}", if rules.is_empty() { "no rule".into() } else { rules.join(" ") });
    }
    let microseconds = record["microseconds"].as_f64().unwrap_or_default();
    line + &format!(", {:.3} ms", microseconds / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_shown_with_who_what_and_the_rule() {
        let record = serde_json::json!({
            "schema": 1, "time": "2026-01-02T03:04:05.678Z", "operation": "Decrypt", "keyId": "demo",
            "requestMetadata": { "awsPrincipalArn": "arn:aws:iam::123456789012:root" },
            "policy": { "effect": "deny", "rules": ["no-root-users"] },
            "status": 403, "errorName": "AccessDeniedException", "microseconds": 210,
        });
        assert_eq!(
            shortened(&record),
            "03:04:05.678 Decrypt demo by arn:aws:iam::123456789012:root: 403 AccessDeniedException, \
             deny by no-root-users, 0.210 ms"
        );
    }
}
