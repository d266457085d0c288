//! Requests made of parts that were rendered beforehand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::plan::Plan;
use super::random::Random;
use super::signature::{CONTENT_TYPE, QuickSigner};
use crate::client::format_request_id;
use crate::message::{Encrypted, ErrorBody, Health, KeyMetadata, Operation, Sealed};

/// A plaintext and what it was last encrypted to.
#[derive(Clone)]
pub(super) struct Slot {
    plaintext: String,
    plaintext_len: usize,
    encrypt_tail: String,
    decrypt_tail: String,
}

/// Where a signature comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signing {
    Right,
    Forged,
    Absent,
}

/// What is needed to make one thread's requests and to judge their answers.
pub(super) struct Templates {
    signer: QuickSigner,
    authority: String,
    /// By operation.
    paths: [String; 4],
    principals: Vec<String>,
    /// After the principal and up to the request id, by operation.
    middles: [String; 4],
    /// After the request id, up to the operation's own fields.
    metadata_end: String,
    aad: Vec<u8>,
    aad_field: String,
    cdiv: bool,
    slots: Vec<Slot>,
    body: Vec<u8>,
}

/// What a request was about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) operation: Operation,
    slot: usize,
}

fn index(operation: Operation) -> usize {
    match operation {
        Operation::Health => 0,
        Operation::Metadata => 1,
        Operation::Encrypt => 2,
        Operation::Decrypt => 3,
    }
}

const OPERATIONS: [Operation; 4] =
    [Operation::Health, Operation::Metadata, Operation::Encrypt, Operation::Decrypt];

/// A text as JSON, quoted.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Templates {
    pub(super) fn new(plan: &Plan, aad: Vec<u8>, slots: Vec<Slot>, now: u64) -> Self {
        let key_arn = quoted(&key_arn(plan));
        let middles = OPERATIONS.map(|operation| {
            let mut middle = String::new();
            if matches!(operation, Operation::Encrypt | Operation::Decrypt) {
                middle += &format!(r#","kmsKeyArn":{key_arn}"#);
            }
            if let (Some(service), true) = (&plan.via_service, operation != Operation::Health) {
                middle += &format!(r#","kmsViaService":{}"#, quoted(service));
            }
            middle + &format!(r#","kmsOperation":"{}","kmsRequestId":""#, operation.usual_kms_operation())
        });
        let principals = (0..plan.principals)
            .map(|n| format!(r#"{{"requestMetadata":{{"awsPrincipalArn":{}"#, quoted(&principal(plan, n))))
            .collect();
        Self {
            signer: QuickSigner::new(plan.credential.clone(), &plan.region, plan.endpoint.authority(), now),
            authority: plan.endpoint.authority().to_owned(),
            paths: OPERATIONS
                .map(|operation| format!("{}{}", plan.endpoint.uri_path(), operation.path(&plan.key))),
            principals,
            middles,
            metadata_end: r#""}"#.to_owned(),
            aad_field: aad_field(&aad),
            aad,
            cdiv: plan.cdiv,
            slots,
            body: Vec::new(),
        }
    }

    /// Puts a whole HTTP request into `out`. `number` chooses the principal, `now` is in seconds since 1970.
    pub(super) fn compose(
        &mut self,
        operation: Operation,
        signing: Signing,
        (number, now): (u64, u64),
        random: &mut Random,
        out: &mut Vec<u8>,
    ) -> Sent {
        let slot = random.below(self.slots.len().max(1) as u64) as usize;
        let body = &mut self.body;
        body.clear();
        if operation == Operation::Health {
            // No principal: the metadata's first field is kmsOperation, without the comma.
            body.extend_from_slice(br#"{"requestMetadata":{"#);
            body.extend_from_slice(&self.middles[0].as_bytes()[1..]);
        } else {
            let principal = (number % self.principals.len().max(1) as u64) as usize;
            body.extend_from_slice(self.principals[principal].as_bytes());
            body.extend_from_slice(self.middles[index(operation)].as_bytes());
        }
        body.extend_from_slice(format_request_id(random.bytes()).as_bytes());
        body.extend_from_slice(self.metadata_end.as_bytes());
        if let Some(slot) = self.slots.get(slot) {
            match operation {
                Operation::Encrypt => body.extend_from_slice(slot.encrypt_tail.as_bytes()),
                Operation::Decrypt => body.extend_from_slice(slot.decrypt_tail.as_bytes()),
                _ => {}
            }
        }
        body.push(b'}');

        let path = &self.paths[index(operation)];
        out.clear();
        for part in [
            "POST ",
            path,
            " HTTP/1.1\r\nhost: ",
            &self.authority,
            "\r\ncontent-type: ",
            CONTENT_TYPE,
            "\r\n",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
        match signing {
            Signing::Right => self.signer.sign(path, body, now, out),
            Signing::Forged => {
                let mut signature = [0; 32];
                signature[..16].copy_from_slice(&random.bytes());
                signature[16..].copy_from_slice(&random.bytes());
                self.signer.forge(signature, now, out);
            }
            Signing::Absent => {}
        }
        out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
        Sent { operation, slot }
    }

    /// Whether a 200 is right. A new ciphertext takes the place of its slot's old one if `keep`.
    pub(super) fn judge(&mut self, sent: Sent, body: &[u8], keep: bool) -> Result<(), String> {
        #[derive(Deserialize)]
        struct Plaintext<'a> {
            #[serde(borrow)]
            plaintext: std::borrow::Cow<'a, str>,
        }
        fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
            serde_json::from_slice(body).map_err(|error| error.to_string())
        }
        match sent.operation {
            Operation::Health => {
                let health: Health = read(body)?;
                let right =
                    health.xks_proxy_fleet_size > 0 && (1..=10).contains(&health.ekm_fleet_details.len());
                if right { Ok(()) } else { Err("health without key managers".to_owned()) }
            }
            Operation::Metadata => {
                let key: KeyMetadata = read(body)?;
                if key.key_spec == "AES_256" { Ok(()) } else { Err("keySpec isn't AES_256".to_owned()) }
            }
            Operation::Encrypt => {
                let encrypted: Encrypted = read(body)?;
                let Some(slot) = self.slots.get_mut(sent.slot) else { return Ok(()) };
                encrypted
                    .check(slot.plaintext_len, &self.aad, self.cdiv)
                    .map_err(|mismatch| mismatch.to_string())?;
                if keep {
                    slot.decrypt_tail = decrypt_tail(&encrypted.sealed, &self.aad_field);
                }
                Ok(())
            }
            Operation::Decrypt => {
                let answer: Plaintext<'_> = read(body)?;
                let right = self.slots.get(sent.slot).is_none_or(|slot| slot.plaintext == answer.plaintext);
                if right {
                    Ok(())
                } else {
                    Err("the decrypted plaintext isn't what was encrypted".to_owned())
                }
            }
        }
    }
}

impl Slot {
    /// A plaintext that isn't encrypted yet; its decrypt request is one that any server refuses.
    pub(super) fn new(plaintext: &[u8], aad: &[u8], cdiv: bool) -> Self {
        let aad_field = aad_field(aad);
        let text = STANDARD.encode(plaintext);
        let cdiv = if cdiv { r#","ciphertextDataIntegrityValueAlgorithm":"SHA_256""# } else { "" };
        let nothing = Sealed {
            ciphertext: crate::message::Base64(plaintext.to_vec()),
            ciphertext_metadata: None,
            initialization_vector: crate::message::Base64(vec![0; 12]),
            authentication_tag: crate::message::Base64(vec![0; 16]),
        };
        Self {
            encrypt_tail: format!(
                r#","plaintext":"{text}","encryptionAlgorithm":"AES_GCM"{aad_field}{cdiv}"#
            ),
            decrypt_tail: decrypt_tail(&nothing, &aad_field),
            plaintext: text,
            plaintext_len: plaintext.len(),
        }
    }

    /// The same, encrypted.
    pub(super) fn with(mut self, sealed: &Sealed, aad: &[u8]) -> Self {
        self.decrypt_tail = decrypt_tail(sealed, &aad_field(aad));
        self
    }
}

fn aad_field(aad: &[u8]) -> String {
    if aad.is_empty() {
        return String::new();
    }
    format!(r#","additionalAuthenticatedData":"{}""#, STANDARD.encode(aad))
}

fn decrypt_tail(sealed: &Sealed, aad_field: &str) -> String {
    let metadata = match &sealed.ciphertext_metadata {
        Some(metadata) => format!(r#","ciphertextMetadata":"{}""#, metadata.text()),
        None => String::new(),
    };
    format!(
        r#","ciphertext":"{}","initializationVector":"{}","authenticationTag":"{}"{metadata},"encryptionAlgorithm":"AES_GCM"{aad_field}"#,
        sealed.ciphertext.text(),
        sealed.initialization_vector.text(),
        sealed.authentication_tag.text()
    )
}

/// The `errorName` of a refusal, or what stands for it.
pub(super) fn error_name(body: &[u8]) -> String {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(error) => error.error_name,
        Err(_) => "(no errorName)".to_owned(),
    }
}

pub(super) fn principal(plan: &Plan, n: usize) -> String {
    plan.principal.replace("{}", &n.to_string())
}

pub(super) fn key_arn(plan: &Plan) -> String {
    format!("arn:aws:kms:{}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab", plan.region)
}
