//! What a policy is asked and what it answers: the plain Rust form of `wit/policy`.

/// What is asked of a key. GetHealthStatus is never subject to policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// GetKeyMetadata.
    GetKeyMetadata,
    /// Encrypt.
    Encrypt,
    /// Decrypt.
    Decrypt,
}

impl Operation {
    /// The operation's name as the XKS specification spells it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::GetKeyMetadata => "GetKeyMetadata",
            Operation::Encrypt => "Encrypt",
            Operation::Decrypt => "Decrypt",
        }
    }
}

/// An Amazon Resource Name, taken apart at its colons. Nothing is assumed of the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Arn {
    /// Such as `aws` or `aws-cn`.
    pub partition: String,
    /// Such as `iam`.
    pub service: String,
    /// Empty for global services.
    pub region: String,
    /// The account's twelve digits, or whatever stands there.
    pub account: String,
    /// All after the fifth colon, such as `user/Alice`.
    pub resource: String,
    /// The role's name without path and session, for `role/...` and `assumed-role/...`.
    pub role: Option<String>,
}

/// Who a text of requestMetadata names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An Amazon Resource Name.
    Arn(Arn),
    /// A service principal, such as `ec2.amazonaws.com`.
    Service(String),
    /// Any other text, such as `AWS Internal`.
    Other(String),
}

/// Verified facts about one request: from the signed path, the signed body, the credential and the connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// The name of the key store in the configuration.
    pub key_store: String,
    /// Whose credential signed the request.
    pub access_key_id: String,
    /// The external key id in the signed path.
    pub key_id: String,
    /// The operation in the signed path.
    pub operation: Operation,
    /// `awsPrincipalArn`.
    pub principal: Identity,
    /// `awsPrincipalArn` as received.
    pub principal_text: String,
    /// `kmsKeyArn`; GetKeyMetadata has none.
    pub kms_key: Option<Identity>,
    /// `kmsOperation`, such as `GenerateDataKey`; new ones appear over time.
    pub kms_operation: String,
    /// `kmsRequestId`, opaque.
    pub kms_request_id: String,
    /// `kmsViaService`, such as `ebs`.
    pub via_service: Option<String>,
    /// `awsSourceVpc`.
    pub source_vpc: Option<String>,
    /// `awsSourceVpce`.
    pub source_vpce: Option<String>,
    /// Every other member of requestMetadata, by name: a string's text, any other value as JSON.
    pub other_metadata: Vec<(String, String)>,
    /// The subject of the TLS client's certificate, where mutual TLS is on.
    pub tls_peer: Option<String>,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub time: u64,
    /// What the principal decrypted before.
    pub decrypts: DecryptCounts,
}

/// How many Decrypt requests a principal sent to this key store lately, this one included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DecryptCounts {
    /// In the last minute, whatever the key.
    pub minute: u32,
    /// In the last hour, whatever the key.
    pub hour: u32,
    /// In the last minute, with this key.
    pub key_minute: u32,
    /// In the last hour, with this key.
    pub key_hour: u32,
}

impl Query {
    /// The hour (0 to 23) and the weekday (1, Monday, to 7) of the query's time, in UTC.
    pub fn hour_and_weekday(&self) -> (u8, u8) {
        let (days, seconds) = (self.time / 86_400, self.time % 86_400);
        // 1970-01-01 was a Thursday.
        ((seconds / 3600) as u8, ((days + 3) % 7 + 1) as u8)
    }
}

/// What a policy decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The request is refused.
    Deny,
    /// The request may use the key.
    Allow,
}

/// A policy's answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// [`Effect::Deny`] whenever there are errors.
    pub effect: Effect,
    /// The ids of the rules that decided; empty when no rule matched.
    pub rules: Vec<String>,
    /// Evaluation errors, each naming its rule.
    pub errors: Vec<String>,
    /// Of a denial: what the policy's author wants its caller told. Printable ASCII.
    pub message: Option<String>,
}
