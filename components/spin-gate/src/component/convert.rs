//! Between the contracts' types and the gate's own.

use holdfast_gate::facts::{Named, View};
use holdfast_gate::query::{DecryptCounts, Effect, Operation};
use holdfast_gate::{ErrorName, Refusal, reply};

use super::bindings::exports::holdfast::gate::{intake, types};
use super::bindings::holdfast::policy::types as policy;

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

/// The query as the policy gets it.
pub(super) fn query(shown: View<'_>) -> policy::Query {
    let option = |text: Option<&str>| text.map(str::to_owned);
    let DecryptCounts { minute, hour, key_minute, key_hour } = shown.decrypts;
    policy::Query {
        key_store: shown.key_store.to_owned(),
        access_key_id: shown.access_key_id.to_owned(),
        key_id: shown.key_id.to_owned(),
        operation: match shown.operation {
            Operation::GetKeyMetadata => policy::Operation::GetKeyMetadata,
            Operation::Encrypt => policy::Operation::Encrypt,
            Operation::Decrypt => policy::Operation::Decrypt,
        },
        principal: shown.principal.map_or(policy::Identity::Other(String::new()), identity),
        principal_text: shown.principal_text.to_owned(),
        kms_key: shown.kms_key.map(identity),
        kms_operation: shown.kms_operation.to_owned(),
        kms_request_id: shown.kms_request_id.to_owned(),
        via_service: option(shown.via_service),
        source_vpc: option(shown.source_vpc),
        source_vpce: option(shown.source_vpce),
        other_metadata: shown.other_metadata.to_vec(),
        tls_peer: option(shown.tls_peer),
        time: shown.time,
        clock: policy::Clock { hour: shown.hour, weekday: shown.weekday },
        decrypts: policy::DecryptCounts { minute, hour, key_minute, key_hour },
    }
}

fn identity(named: Named<'_>) -> policy::Identity {
    match named {
        Named::Arn { partition, service, region, account, resource, role } => {
            policy::Identity::Arn(policy::Arn {
                partition: partition.to_owned(),
                service: service.to_owned(),
                region: region.to_owned(),
                account: account.to_owned(),
                resource: resource.to_owned(),
                role: role.map(str::to_owned),
            })
        }
        Named::Service(name) => policy::Identity::Service(name.to_owned()),
        Named::Other(text) => policy::Identity::Other(text.to_owned()),
    }
}

pub(super) fn effect(effect: policy::Effect) -> Effect {
    match effect {
        policy::Effect::Allow => Effect::Allow,
        policy::Effect::Deny => Effect::Deny,
    }
}
