//! A query in Cedar's terms: who, what, on which key, and the context.

use std::collections::HashSet;

use cedar_policy::{Context, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};

use crate::document::Groups;
use crate::schema::Names;
use crate::{Arn, Clock, DecryptCounts, Facts, Identity, Query};

type Attributes = Vec<(String, RestrictedExpression)>;

/// Who asks: the entity, its own attributes, and the account that it belongs to.
struct Principal {
    uid: EntityUid,
    attributes: Attributes,
    account: Option<EntityUid>,
}

/// A query in Cedar's terms.
pub(crate) struct Asked {
    pub(crate) principal: EntityUid,
    pub(crate) key: EntityUid,
    pub(crate) request: Request,
}

/// What is asked, and the entities that it brings along. Only facts in `reads` are put in.
pub(crate) fn build(
    query: &Query,
    reads: Facts,
    names: &Names,
    groups: &Groups,
) -> Result<(Asked, Vec<Entity>), String> {
    let action = names.action(query.operation);
    let principal = principal(query, names);
    let key = uid(&names.key, &query.key_id);
    let key_store = uid(&names.key_store, &query.key_store);
    let metadata = uid(&names.other_metadata, "request");

    let context = context(query, reads, &metadata)?;
    let request = Request::new(principal.uid.clone(), action.clone(), key.clone(), context, None)
        .map_err(|error| error.to_string())?;

    let asked = Asked { principal: principal.uid.clone(), key: key.clone(), request };
    let mut entities = Vec::with_capacity(4);
    if reads.contains(Facts::PRINCIPAL) {
        let parents = all_parents(&principal.uid, principal.account, groups);
        entities.push(entity(principal.uid, principal.attributes, parents, Vec::new())?);
    }
    if reads.intersects(Facts::KEY_ID | Facts::KEY_STORE) {
        let parents = all_parents(&key, Some(key_store), groups);
        entities.push(entity(key, Vec::new(), parents, Vec::new())?);
    }
    if reads.contains(Facts::OTHER_METADATA) && !query.other_metadata.is_empty() {
        entities.push(entity(metadata, Vec::new(), HashSet::new(), tags(&query.other_metadata)?)?);
    }
    Ok((asked, entities))
}

fn principal(query: &Query, names: &Names) -> Principal {
    let text = ("arn", query.principal_text.as_str());
    match &query.principal {
        Identity::Arn(parts) if is_account(&parts.account) => account_principal(parts, text, names),
        Identity::Arn(_) | Identity::Other(_) => Principal::alone(uid(&names.other, text.1), text),
        Identity::Service(name) => Principal::alone(uid(&names.service, name), text),
    }
}

impl Principal {
    fn alone(uid: EntityUid, arn: (&str, &str)) -> Principal {
        Principal { uid, attributes: texts([arn]).collect(), account: None }
    }
}

/// A principal of an account. What is neither role, user nor root user is in its account too, whatever form its ARN has: what
/// is forbidden to an account is forbidden to federated users, and to kinds of principals that AWS has yet to invent.
fn account_principal(arn: &Arn, text: (&str, &str), names: &Names) -> Principal {
    let common = texts([text, ("partition", &arn.partition), ("account", &arn.account)]);
    let user = match (arn.service.as_str(), arn.resource.strip_prefix("user/")) {
        ("iam", Some(path)) => path.rsplit('/').next().filter(|name| !name.is_empty()),
        _ => None,
    };
    let (uid, attributes): (EntityUid, Attributes) = match (arn.service.as_str(), &arn.role, user) {
        ("iam" | "sts", Some(role), _) if !role.is_empty() => {
            let session = arn.resource.strip_prefix("assumed-role/").and_then(|rest| rest.split_once('/'));
            let session = session.map(|(_, session)| ("session", session));
            let own = texts([("name", role.as_str())].into_iter().chain(session));
            (uid(&names.role, &format!("{}/{role}", arn.account)), common.chain(own).collect())
        }
        ("iam", _, _) if arn.resource == "root" => (uid(&names.root, &arn.account), common.collect()),
        (_, _, Some(name)) => {
            let own = texts([("name", name)]);
            (uid(&names.user, &format!("{}/{name}", arn.account)), common.chain(own).collect())
        }
        _ => (uid(&names.other, text.1), common.collect()),
    };
    Principal { uid, attributes, account: Some(self::uid(&names.account, &arn.account)) }
}

/// Twelve digits: anything else could make one account's `ACCOUNT/NAME` look like another's.
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn context(query: &Query, reads: Facts, metadata: &EntityUid) -> Result<Context, String> {
    let mut pairs: Attributes = Vec::with_capacity(8);
    let mut put = |fact: Facts, name: &str, value: &dyn Fn() -> RestrictedExpression| {
        if reads.contains(fact) {
            pairs.push((name.to_owned(), value()));
        }
    };
    let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
    put(Facts::ACCESS_KEY_ID, "accessKeyId", &|| text(&query.access_key_id));
    put(Facts::KMS_OPERATION, "kmsOperation", &|| text(&query.kms_operation));
    put(Facts::KMS_REQUEST_ID, "kmsRequestId", &|| text(&query.kms_request_id));
    put(Facts::OTHER_METADATA, "otherMetadata", &|| RestrictedExpression::new_entity_uid(metadata.clone()));
    for (fact, name, value) in [
        (Facts::VIA_SERVICE, "viaService", &query.via_service),
        (Facts::SOURCE_VPC, "sourceVpc", &query.source_vpc),
        (Facts::SOURCE_VPCE, "sourceVpce", &query.source_vpce),
        (Facts::TLS_PEER, "tlsPeer", &query.tls_peer),
    ] {
        if let Some(value) = value {
            put(fact, name, &|| text(value));
        }
    }
    let time = i64::try_from(query.time).map_err(|_| format!("the time {} is out of range", query.time))?;
    put(Facts::TIME, "time", &|| RestrictedExpression::new_long(time));
    let numbers = |pairs: &[(&str, u32)]| {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), RestrictedExpression::new_long(i64::from(*value))));
        RestrictedExpression::new_record(pairs).map_err(|error| error.to_string())
    };
    if reads.contains(Facts::CLOCK) {
        let Clock { hour, weekday } = query.clock;
        let clock = numbers(&[("hour", u32::from(hour)), ("weekday", u32::from(weekday))])?;
        pairs.push(("clock".to_owned(), clock));
    }
    if reads.contains(Facts::DECRYPTS) {
        let DecryptCounts { minute, hour, key_minute, key_hour } = query.decrypts;
        let counts = [("minute", minute), ("hour", hour), ("keyMinute", key_minute), ("keyHour", key_hour)];
        pairs.push(("decrypts".to_owned(), numbers(&counts)?));
    }
    if let (Some(key), true) = (&query.kms_key, reads.contains(Facts::KMS_KEY)) {
        let record = RestrictedExpression::new_record(kms_key(key)).map_err(|error| error.to_string())?;
        pairs.push(("kmsKey".to_owned(), record));
    }
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

/// The KMS key's ARN in parts; a text that isn't an ARN has only `arn`, and the parts empty.
fn kms_key(key: &Identity) -> Attributes {
    let (arn, parts) = match key {
        Identity::Arn(arn) => {
            let Arn { partition, service, region, account, resource, .. } = arn;
            let text = format!("arn:{partition}:{service}:{region}:{account}:{resource}");
            let id = resource.strip_prefix("key/").unwrap_or(resource);
            (text, [partition.as_str(), region, account, id])
        }
        Identity::Service(text) | Identity::Other(text) => (text.clone(), [""; 4]),
    };
    let [partition, region, account, id] = parts;
    texts([
        ("arn", arn.as_str()),
        ("partition", partition),
        ("region", region),
        ("account", account),
        ("id", id),
    ])
    .collect()
}

fn tags(pairs: &[(String, String)]) -> Result<Attributes, String> {
    let mut seen = HashSet::new();
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !seen.insert(name)) {
        return Err(format!("requestMetadata has {name:?} twice"));
    }
    Ok(texts(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect())
}

fn texts<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (String, RestrictedExpression)> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), RestrictedExpression::new_string(value.to_owned())))
}

fn entity(
    uid: EntityUid,
    attributes: Attributes,
    parents: HashSet<EntityUid>,
    tags: Attributes,
) -> Result<Entity, String> {
    Entity::new_with_tags(uid, attributes, parents, tags).map_err(|error| error.to_string())
}

/// The parent that the request gives, and all groups that the document puts either into.
fn all_parents(uid: &EntityUid, parent: Option<EntityUid>, groups: &Groups) -> HashSet<EntityUid> {
    let of_parent = parent.as_ref().and_then(|parent| groups.get(parent)).into_iter().flatten();
    let of_itself = groups.get(uid).into_iter().flatten();
    let all: HashSet<EntityUid> = of_itself.chain(of_parent).cloned().collect();
    all.into_iter().chain(parent).collect()
}

fn uid(name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
}
