//! Amazon Resource Names, taken apart for policies.

use crate::query::{Arn, Identity};

/// The longest ARN in characters that is read as one (checklist T5); longer texts are [`Identity::Other`].
pub const ARN_LIMIT: usize = 2048;

/// Reads who a text of requestMetadata names. Never fails: what is neither an ARN nor a service principal is other
/// text, such as `AWS Internal`.
pub fn identity(text: &str) -> Identity {
    if let Some(arn) = arn(text) {
        return Identity::Arn(arn);
    }
    if is_service_principal(text) {
        return Identity::Service(text.to_owned());
    }
    Identity::Other(text.to_owned())
}

/// `arn:partition:service:region:account:resource`; the partition is whatever stands there (`aws`, `aws-cn`, ...).
fn arn(text: &str) -> Option<Arn> {
    if text.len() > ARN_LIMIT {
        return None;
    }
    let mut parts = text.splitn(6, ':');
    if parts.next()? != "arn" {
        return None;
    }
    let mut part = || parts.next().map(str::to_owned);
    let (partition, service, region, account, resource) = (part()?, part()?, part()?, part()?, part()?);
    if partition.is_empty() || service.is_empty() || resource.is_empty() {
        return None;
    }
    let role = role_name(&service, &resource).map(str::to_owned);
    Some(Arn { partition, service, region, account, resource, role })
}

/// The role's name without path or session: `role/some/path/NAME` of IAM, `assumed-role/NAME/session` of STS.
fn role_name<'a>(service: &str, resource: &'a str) -> Option<&'a str> {
    let name = match service {
        "iam" => resource.strip_prefix("role/")?.rsplit('/').next()?,
        "sts" => resource.strip_prefix("assumed-role/")?.split('/').next()?,
        _ => return None,
    };
    (!name.is_empty()).then_some(name)
}

/// `NAME.amazonaws.com` and the same in other partitions (`amazonaws.com.cn`).
fn is_service_principal(text: &str) -> bool {
    let host = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    host && !text.starts_with('.') && (text.ends_with(".amazonaws.com") || text.contains(".amazonaws.com."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role_of(text: &str) -> Option<String> {
        match identity(text) {
            Identity::Arn(arn) => arn.role,
            _ => None,
        }
    }

    #[test]
    fn roles_are_named_without_path_and_session() {
        assert_eq!(role_of("arn:aws:sts::111122223333:assumed-role/App/i-0abc").as_deref(), Some("App"));
        assert_eq!(role_of("arn:aws-cn:iam::111122223333:role/service-role/App").as_deref(), Some("App"));
        assert_eq!(role_of("arn:aws:iam::111122223333:user/App"), None);
        assert_eq!(role_of("arn:aws:kms::111122223333:role/App"), None);
        assert_eq!(role_of("arn:aws:iam::111122223333:role/"), None);
    }

    #[test]
    fn what_is_no_arn_is_a_service_or_other_text() {
        assert_eq!(identity("ec2.amazonaws.com"), Identity::Service("ec2.amazonaws.com".into()));
        for text in ["AWS Internal", "", "arn:aws:iam", "arn::::::", "EC2.amazonaws.com", "amazonaws.com"] {
            assert_eq!(identity(text), Identity::Other(text.into()), "{text}");
        }
        let long = format!("arn:aws:iam::111122223333:user/{}", "x".repeat(2048));
        assert!(matches!(identity(&long), Identity::Other(_)));
    }

    #[test]
    fn a_resource_keeps_its_colons() {
        let Identity::Arn(arn) = identity("arn:aws:kms:eu-central-1:111122223333:key/a:b") else { panic!() };
        assert_eq!((arn.region.as_str(), arn.resource.as_str()), ("eu-central-1", "key/a:b"));
    }
}
