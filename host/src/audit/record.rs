//! The record of a request (checklist L1): every fact that the policy saw, and what came of it. Never a plaintext, key,
//! secret or signature (L2).

use crate::gate::{Called, Trace};
use crate::policy::Origin;
use holdfast_gate::ErrorName;
use holdfast_gate::query::{DecryptCounts, Effect};
use holdfast_gate::sigv4::format_date_time;
use holdfast_gate::strict::write_text;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The version of the records' schema; docs/operations.md describes it.
pub const SCHEMA: u32 = 1;

/// What the server knows at the end.
pub struct Finished<'a> {
    /// The key store's name.
    pub key_store: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// Of an error.
    pub error: Option<ErrorName>,
    /// When the head was read.
    pub received: SystemTime,
    /// Since then.
    pub took: Duration,
    /// Of the client's certificate.
    pub tls_peer: Option<&'a str>,
    /// The client's address.
    pub client: &'a str,
    /// Digest of the proxy component.
    pub proxy: &'a str,
    /// Digest of the sigv4 component.
    pub sigv4: &'a str,
}

/// One line, with its line feed.
pub fn record(trace: &Trace, finished: &Finished<'_>) -> String {
    let mut line = Line::start();
    line.text("time", &rfc3339(finished.received));
    line.text("keyStore", finished.key_store);
    line.optional("accessKeyId", trace.access_key_id.as_deref());
    match &trace.called {
        Some(Called::Health) => line.text("operation", "GetHealthStatus"),
        Some(Called::Key { key_id, operation }) => {
            line.text("operation", operation.name());
            line.text("keyId", key_id);
        }
        None => {}
    }
    line.raw("policyTime", &trace.time.to_string());
    line.text("client", finished.client);
    line.optional("tlsPeer", finished.tls_peer);
    if let Some(metadata) = &trace.metadata {
        line.open("requestMetadata");
        line.optional("awsPrincipalArn", metadata.principal.as_deref());
        line.optional("awsSourceVpc", metadata.source_vpc.as_deref());
        line.optional("awsSourceVpce", metadata.source_vpce.as_deref());
        line.optional("kmsKeyArn", metadata.kms_key.as_deref());
        line.text("kmsOperation", &metadata.kms_operation);
        line.text("kmsRequestId", &metadata.kms_request_id);
        line.optional("kmsViaService", metadata.via_service.as_deref());
        if !metadata.other.is_empty() {
            line.open("other");
            for (name, value) in &metadata.other {
                line.text(name, value);
            }
            line.close();
        }
        line.close();
    }
    if let Some(decided) = &trace.decided {
        let policy = decided.active.policy.identity();
        let DecryptCounts { minute, hour, key_minute, key_hour } = trace.decrypts;
        line.raw("decrypts", &format!("[{minute},{hour},{key_minute},{key_hour}]"));
        line.open("policy");
        line.text("effect", if decided.decision.effect == Effect::Allow { "allow" } else { "deny" });
        line.texts("rules", &decided.decision.rules);
        if !decided.decision.errors.is_empty() {
            line.texts("errors", &decided.decision.errors);
        }
        line.optional("message", decided.decision.message.as_deref());
        line.text("component", &policy.component);
        line.text("revision", &policy.revision);
        if let Origin::Activation { number, artefact } = &decided.active.origin {
            line.text("artefact", artefact);
            line.raw("activation", &number.to_string());
        }
        line.close();
    }
    line.optional("keyManager", trace.key_manager.as_deref());
    line.raw("status", &finished.status.to_string());
    line.optional("errorName", finished.error.map(ErrorName::as_str));
    // Only what the gate itself said: a component's message could repeat what it has seen.
    line.optional("reason", trace.refused.as_ref().map(|refusal| refusal.message.as_ref()));
    line.raw("microseconds", &finished.took.as_micros().to_string());
    line.text("proxyComponent", finished.proxy);
    line.text("sigv4Component", finished.sigv4);
    line.finish()
}

/// A JSON object on one line, written member by member.
pub(super) struct Line(String);

impl Line {
    pub(super) fn start() -> Line {
        let mut line = Line(String::with_capacity(1024));
        line.0.push_str("{\"schema\":");
        line.0.push_str(&SCHEMA.to_string());
        line
    }

    fn name(&mut self, name: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        write_text(&mut self.0, name);
        self.0.push(':');
    }

    pub(super) fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.push_str(json);
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_text(&mut self.0, text);
    }

    pub(super) fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn texts(&mut self, name: &str, texts: &[String]) {
        self.name(name);
        self.0.push('[');
        for (i, text) in texts.iter().enumerate() {
            if i > 0 {
                self.0.push(',');
            }
            write_text(&mut self.0, text);
        }
        self.0.push(']');
    }

    fn open(&mut self, name: &str) {
        self.name(name);
        self.0.push('{');
    }

    fn close(&mut self) {
        self.0.push('}');
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ` (RFC 3339).
pub(super) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let basic = format_date_time(since.as_secs());
    let (date, time) = basic.split_at(8);
    format!(
        "{}-{}-{}T{}:{}:{}.{:03}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[1..3],
        &time[3..5],
        &time[5..7],
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_gate::body::RequestMetadata;

    #[test]
    fn l1_a_record_is_one_line_of_json_with_every_fact() {
        let mut trace = Trace::new(1_700_000_000, std::time::Instant::now());
        trace.access_key_id = Some("ID".into());
        trace.metadata = Some(RequestMetadata {
            principal: Some("a\nb\u{2028}\"".into()),
            kms_operation: "Encrypt".into(),
            kms_request_id: "r1".into(),
            other: vec![("kmsNew".into(), "x".into())],
            ..RequestMetadata::default()
        });
        let finished = Finished {
            key_store: "demo",
            status: 403,
            error: Some(ErrorName::AccessDenied),
            received: UNIX_EPOCH + Duration::from_millis(1_440_938_160_007),
            took: Duration::from_micros(250),
            tls_peer: None,
            client: "127.0.0.1:1",
            proxy: "p",
            sigv4: "s",
        };
        let line = record(&trace, &finished);
        assert_eq!(line.lines().count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["time"], "2015-08-30T12:36:00.007Z");
        assert_eq!(read["requestMetadata"]["awsPrincipalArn"], "a\nb\u{2028}\"");
        assert_eq!(read["requestMetadata"]["other"]["kmsNew"], "x");
        assert_eq!(
            (read["status"].as_u64(), read["errorName"].as_str()),
            (Some(403), Some("AccessDeniedException"))
        );
        assert_eq!(read["microseconds"], 250);
    }
}
