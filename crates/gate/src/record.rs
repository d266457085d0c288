//! The audit record of a request (checklist L1): every fact that the policy saw, and what came of it. Never a plaintext, key,
//! secret or signature (L2).

use crate::body::RequestMetadata;
use crate::error::ErrorName;
use crate::query::{DecryptCounts, Effect};
use crate::sigv4::format_date_time;
use crate::target::{Call, Called};
use crate::trace::Trace;

mod line;

pub use line::Line;

/// The most bytes that each part of a record takes; together with what is bounded by its form it is under 8 KiB.
const IDENTITY: usize = 1536;
const NAME: usize = 256;
const OTHER: usize = 1536;
const RULES: usize = 1024;
const WORDS: usize = 512;

/// What there is to tell of a request beside its trace. What a home of the gate doesn't know is left out.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// What the gate knows.
    pub trace: &'a Trace,
    /// When the head was read: milliseconds since 1970.
    pub received: u64,
    /// The key store's name.
    pub key_store: &'a str,
    /// The client's address.
    pub client: Option<&'a str>,
    /// The subject of its certificate.
    pub tls_peer: Option<&'a str>,
    /// Which policy was asked, whatever came of it.
    pub policy: Option<Policy<'a>>,
    /// The HTTP status.
    pub status: u16,
    /// Of an error.
    pub error: Option<ErrorName>,
    /// From the head to the answer.
    pub microseconds: u64,
    /// Digests of the proxy and sigv4 components.
    pub components: Option<(&'a str, &'a str)>,
}

/// The policy that was asked.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// The component's digest.
    pub component: &'a str,
    /// The document's revision.
    pub revision: &'a str,
    /// Digest and number, of an artefact that was activated while the host ran.
    pub activation: Option<(&'a str, u64)>,
}

impl Record<'_> {
    /// One line, with its line feed.
    pub fn line(&self) -> String {
        let trace = self.trace;
        let mut line = Line::start();
        line.text("time", &rfc3339(self.received));
        line.text("keyStore", self.key_store);
        line.optional("accessKeyId", trace.access_key_id.as_deref());
        match trace.called.as_ref().map(Called::call) {
            Some(Call::Health) => line.text("operation", "GetHealthStatus"),
            Some(Call::Key { key_id, operation }) => {
                line.text("operation", operation.name());
                line.bounded("keyId", key_id, NAME);
            }
            None => {}
        }
        line.raw("policyTime", &trace.time.to_string());
        line.optional("client", self.client);
        line.optional_bounded("tlsPeer", self.tls_peer, WORDS);
        if let Some(metadata) = &trace.metadata {
            request_metadata(&mut line, metadata);
        }
        self.decision(&mut line);
        line.optional("keyManager", trace.key_manager.as_deref());
        line.raw("status", &self.status.to_string());
        line.optional("errorName", self.error.map(ErrorName::as_str));
        // Only what the gate itself said: a component's message could repeat what it has seen.
        line.optional_bounded(
            "reason",
            trace.refused.as_ref().map(|refusal| refusal.message.as_ref()),
            WORDS,
        );
        line.raw("microseconds", &self.microseconds.to_string());
        line.optional("proxyComponent", self.components.map(|(proxy, _)| proxy));
        line.optional("sigv4Component", self.components.map(|(_, sigv4)| sigv4));
        line.finish()
    }

    fn decision(&self, line: &mut Line) {
        if let Some(DecryptCounts { minute, hour, key_minute, key_hour }) = self.trace.decrypts {
            line.raw("decrypts", &format!("[{minute},{hour},{key_minute},{key_hour}]"));
        }
        let decision = self.trace.decision.as_deref();
        if decision.is_none() && self.policy.is_none() {
            return;
        }
        line.open("policy");
        if let Some(decision) = decision {
            line.text("effect", if decision.effect == Effect::Allow { "allow" } else { "deny" });
            line.texts("rules", &decision.rules, RULES);
            if !decision.errors.is_empty() {
                line.texts("errors", &decision.errors, WORDS);
            }
            line.optional_bounded("message", decision.message.as_deref(), WORDS);
        }
        if let Some(policy) = self.policy {
            line.text("component", policy.component);
            line.text("revision", policy.revision);
            if let Some((artefact, number)) = policy.activation {
                line.text("artefact", artefact);
                line.raw("activation", &number.to_string());
            }
        }
        line.close();
    }
}

fn request_metadata(line: &mut Line, metadata: &RequestMetadata) {
    line.open("requestMetadata");
    line.optional_bounded("awsPrincipalArn", metadata.principal.as_deref(), IDENTITY);
    line.optional_bounded("awsSourceVpc", metadata.source_vpc.as_deref(), NAME);
    line.optional_bounded("awsSourceVpce", metadata.source_vpce.as_deref(), NAME);
    line.optional_bounded("kmsKeyArn", metadata.kms_key.as_deref(), WORDS);
    line.bounded("kmsOperation", &metadata.kms_operation, NAME);
    line.bounded("kmsRequestId", &metadata.kms_request_id, NAME);
    line.optional_bounded("kmsViaService", metadata.via_service.as_deref(), NAME);
    if !metadata.other.is_empty() {
        line.members("other", &metadata.other, OTHER);
    }
    line.close();
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ` (RFC 3339), of milliseconds since 1970.
pub fn rfc3339(milliseconds: u64) -> String {
    let basic = format_date_time(milliseconds / 1000);
    let (date, time) = basic.split_at(8);
    format!(
        "{}-{}-{}T{}:{}:{}.{:03}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[1..3],
        &time[3..5],
        &time[5..7],
        milliseconds % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_a_record_is_one_line_of_json_with_every_fact() {
        let mut trace = Trace::new(1_440_938_160);
        trace.access_key_id = Some("ID".into());
        trace.metadata = Some(RequestMetadata {
            principal: Some("a\nb\u{2028}\"".into()),
            kms_operation: "Encrypt".into(),
            kms_request_id: "r1".into(),
            other: vec![("kmsNew".into(), "x".into())],
            ..RequestMetadata::default()
        });
        let record = Record {
            trace: &trace,
            received: 1_440_938_160_007,
            key_store: "demo",
            client: Some("127.0.0.1:1"),
            tls_peer: None,
            policy: None,
            status: 403,
            error: Some(ErrorName::AccessDenied),
            microseconds: 250,
            components: Some(("p", "s")),
        };
        let line = record.line();
        assert_eq!(line.lines().count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["time"], "2015-08-30T12:36:00.007Z");
        assert_eq!(read["requestMetadata"]["awsPrincipalArn"], "a\nb\u{2028}\"");
        assert_eq!(read["requestMetadata"]["other"]["kmsNew"], "x");
        assert_eq!(
            (read["status"].as_u64(), read["errorName"].as_str()),
            (Some(403), Some("AccessDeniedException"))
        );
        assert_eq!((read["microseconds"].as_u64(), read["proxyComponent"].as_str()), (Some(250), Some("p")));
        assert!(read.get("policy").is_none() && read.get("decrypts").is_none(), "no policy was asked");
    }

    #[test]
    fn l1_a_record_says_which_policy_gave_no_decision() {
        let mut trace = Trace::new(1_440_938_160);
        trace.decrypts = Some(DecryptCounts { minute: 1, hour: 2, key_minute: 3, key_hour: 4 });
        let policy = Policy { component: "c", revision: "r", activation: Some(("a", 7)) };
        let record = Record {
            trace: &trace,
            received: 0,
            key_store: "demo",
            client: None,
            tls_peer: None,
            policy: Some(policy),
            status: 500,
            error: Some(ErrorName::Internal),
            microseconds: 1,
            components: None,
        };
        let read: serde_json::Value = serde_json::from_str(&record.line()).unwrap();
        let asked =
            serde_json::json!({ "component": "c", "revision": "r", "artefact": "a", "activation": 7 });
        assert_eq!((&read["policy"], &read["decrypts"]), (&asked, &serde_json::json!([1, 2, 3, 4])));
    }
}
