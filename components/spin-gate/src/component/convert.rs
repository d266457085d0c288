//! Between the contracts' types and the gate's own.

use holdfast_gate::query::{Arn, Decision, Effect, Identity, Operation, Query};
use holdfast_gate::{ErrorName, Refusal, reply};

use super::exports::holdfast::gate::{intake, types};
use super::holdfast::policy::types as policy;
use policy::Facts;

pub(super) fn answer((status, body): (u16, String)) -> intake::Answer {
    intake::Answer { status, body }
}

pub(super) fn refusal(refusal: Refusal) -> types::Refusal {
    let name = match refusal.name {
        ErrorName::Validation => types::ErrorName::Validation,
        ErrorName::InvalidState => types::ErrorName::InvalidState,
        ErrorName::InvalidCiphertext => types::ErrorName::InvalidCiphertext,
        ErrorName::InvalidKeyUsage => types::ErrorName::InvalidKeyUsage,
        ErrorName::AuthenticationFailed => types::ErrorName::AuthenticationFailed,
        ErrorName::AccessDenied => types::ErrorName::AccessDenied,
        ErrorName::KeyNotFound => types::ErrorName::KeyNotFound,
        ErrorName::InvalidUriPath => types::ErrorName::InvalidUriPath,
        ErrorName::Throttling => types::ErrorName::Throttling,
        ErrorName::Internal => types::ErrorName::Internal,
        ErrorName::UnsupportedOperation => types::ErrorName::UnsupportedOperation,
        ErrorName::DependencyTimeout => types::ErrorName::DependencyTimeout,
    };
    types::Refusal { name, message: refusal.message.into_owned() }
}

pub(super) fn operation(operation: types::Operation) -> Operation {
    match operation {
        types::Operation::GetKeyMetadata => Operation::GetKeyMetadata,
        types::Operation::Encrypt => Operation::Encrypt,
        types::Operation::Decrypt => Operation::Decrypt,
    }
}

pub(super) fn health(health: reply::Health) -> types::Health {
    let fleet = health.fleet.into_iter().map(|manager| types::KeyManager {
        id: manager.id,
        model: manager.model,
        status: match manager.status {
            reply::HealthStatus::Active => types::HealthStatus::Active,
            reply::HealthStatus::Degraded => types::HealthStatus::Degraded,
            reply::HealthStatus::Unavailable => types::HealthStatus::Unavailable,
        },
    });
    types::Health {
        fleet_size: health.fleet_size,
        vendor: health.vendor,
        model: health.model,
        ekm_vendor: health.ekm_vendor,
        fleet: fleet.collect(),
    }
}

/// The query as the policy gets it: facts that it doesn't read are empty.
pub(super) fn query(query: &Query, reads: Facts) -> policy::Query {
    let has = |fact| reads.contains(fact);
    let text = |fact, value: &String| if has(fact) { value.clone() } else { String::new() };
    let option = |fact, value: &Option<String>| value.clone().filter(|_| has(fact));
    let principal = has(Facts::PRINCIPAL);
    policy::Query {
        key_store: text(Facts::KEY_STORE, &query.key_store),
        access_key_id: text(Facts::ACCESS_KEY_ID, &query.access_key_id),
        key_id: text(Facts::KEY_ID, &query.key_id),
        operation: match query.operation {
            Operation::Encrypt if has(Facts::OPERATION) => policy::Operation::Encrypt,
            Operation::Decrypt if has(Facts::OPERATION) => policy::Operation::Decrypt,
            _ => policy::Operation::GetKeyMetadata,
        },
        principal: if principal {
            identity(&query.principal)
        } else {
            policy::Identity::Other(String::new())
        },
        principal_text: text(Facts::PRINCIPAL, &query.principal_text),
        kms_key: query.kms_key.as_ref().filter(|_| has(Facts::KMS_KEY)).map(identity),
        kms_operation: text(Facts::KMS_OPERATION, &query.kms_operation),
        kms_request_id: text(Facts::KMS_REQUEST_ID, &query.kms_request_id),
        via_service: option(Facts::VIA_SERVICE, &query.via_service),
        source_vpc: option(Facts::SOURCE_VPC, &query.source_vpc),
        source_vpce: option(Facts::SOURCE_VPCE, &query.source_vpce),
        other_metadata: if has(Facts::OTHER_METADATA) { query.other_metadata.clone() } else { Vec::new() },
        tls_peer: option(Facts::TLS_PEER, &query.tls_peer),
        time: if has(Facts::TIME) { query.time } else { 0 },
    }
}

fn identity(identity: &Identity) -> policy::Identity {
    match identity {
        Identity::Arn(Arn { partition, service, region, account, resource, role }) => {
            policy::Identity::Arn(policy::Arn {
                partition: partition.clone(),
                service: service.clone(),
                region: region.clone(),
                account: account.clone(),
                resource: resource.clone(),
                role: role.clone(),
            })
        }
        Identity::Service(name) => policy::Identity::Service(name.clone()),
        Identity::Other(text) => policy::Identity::Other(text.clone()),
    }
}

pub(super) fn decision(decision: policy::Decision) -> Decision {
    let effect = match decision.effect {
        policy::Effect::Allow => Effect::Allow,
        policy::Effect::Deny => Effect::Deny,
    };
    Decision { effect, rules: decision.rules, errors: decision.errors }
}
