//! The logic as a component.

use crate::claim;

wit_bindgen::generate!({ path: "../../wit/authn", world: "authenticator" });

use exports::holdfast::authn::sigv4::{Claim, Guest, Refusal};

#[global_allocator]
static ARENA: holdfast_arena::Arena = holdfast_arena::Arena::new();

struct Component;

impl Guest for Component {
    fn read_claim(head: Vec<u8>) -> Result<Claim, Refusal> {
        match claim::read(&head) {
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
}

export!(Component);
