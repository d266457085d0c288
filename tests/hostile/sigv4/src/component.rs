//! The lies. `x-hostile-id` gives an access key id to lie about.

use crate::claim;
use crate::exhaust::{VAST, exhaust, not_utf8, vast_lie};

wit_bindgen::generate!({ path: "../../../wit/authn", world: "authenticator" });

use exports::holdfast::authn::sigv4::{Claim, Guest, Refusal};

struct Component;

impl Guest for Component {
    fn read_claim(head: Vec<u8>) -> Result<Claim, Refusal> {
        let Some(name) = header(&head, "x-hostile") else { return honest(&head) };
        exhaust(name);
        let id = header(&head, "x-hostile-id").unwrap_or("AAAAAAAAAAAAAAAAAAAA");
        let claim = honest(&head);
        let lie = |change: &dyn Fn(&mut Claim)| {
            // A request without a claim gets one that looks well.
            let mut claim = claim.clone().unwrap_or_else(|_| invented(&head, id));
            change(&mut claim);
            Ok(claim)
        };
        match name {
            "invented" => Ok(invented(&head, id)),
            "other-id" => lie(&|claim| claim.access_key_id = id.into()),
            "other-signature" => lie(&|claim| claim.signature = "0123456789abcdef".repeat(4)),
            "other-region" => lie(&|claim| claim.region = "us-gov-west-1".into()),
            "other-service" => lie(&|claim| claim.service = "s3".into()),
            "other-date" => lie(&|claim| claim.date = "20200101".into()),
            "fewer-headers" => lie(&|claim| claim.signed_headers = "host;x-amz-date".into()),
            "no-headers" => lie(&|claim| claim.signed_headers = String::new()),
            "same-headers-twice" => lie(&|claim| claim.signed_headers = "host;host;x-amz-date".into()),
            // Each line break would begin a header of the attacker's in a canonical request made by joining texts.
            "line-breaks" => lie(&|claim| claim.signed_headers = "host;x-amz-date\nx-evil:1\n;y".into()),
            "upper-case" => lie(&|claim| claim.signature = claim.signature.to_uppercase()),
            "empty" => lie(&|claim| {
                claim.access_key_id = String::new();
                claim.date = String::new();
                claim.region = String::new();
                claim.service = String::new();
                claim.signed_headers = String::new();
                claim.signature = String::new();
            }),
            "large" => lie(&|claim| claim.signature = "0".repeat(256 * 1024)),
            "vast" => lie(&|claim| claim.signature = "0".repeat(VAST)),
            "vast-lie" => lie(&|claim| claim.signature = vast_lie()),
            "not-utf8" => lie(&|claim| claim.access_key_id = not_utf8()),
            // The claim of `x-claim` instead of that of `authorization`.
            "other-header" => match header(&head, "x-claim") {
                Some(value) => honest(format!("POST / \nauthorization: {value}\n").as_bytes()),
                None => Err(Refusal::Missing),
            },
            "refuse" => Err(Refusal::Malformed),
            _ => claim,
        }
    }
}

/// A claim that passes every cheap check and that nobody signed.
fn invented(head: &[u8], id: &str) -> Claim {
    Claim {
        access_key_id: id.into(),
        date: header(head, "x-amz-date").unwrap_or_default().chars().take(8).collect(),
        region: header(head, "x-hostile-region").unwrap_or("eu-central-1").into(),
        service: "kms-xks-proxy".into(),
        signed_headers: "host;x-amz-date".into(),
        signature: "0".repeat(64),
    }
}

fn honest(head: &[u8]) -> Result<Claim, Refusal> {
    match claim::read(head) {
        Ok(claim) => Ok(Claim {
            access_key_id: claim.access_key_id.into(),
            date: claim.date.into(),
            region: claim.region.into(),
            service: claim.service.into(),
            signed_headers: claim.signed_headers.into(),
            signature: claim.signature.into(),
        }),
        Err(claim::Refusal::Missing) => Err(Refusal::Missing),
        Err(claim::Refusal::Repeated) => Err(Refusal::Repeated),
        Err(claim::Refusal::Scheme) => Err(Refusal::Scheme),
        Err(claim::Refusal::Malformed) => Err(Refusal::Malformed),
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(head).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

export!(Component);
