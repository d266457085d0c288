//! The names of `schema.cedarschema`, as the rest of the crate uses them.

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};

use crate::{Operation, Problem};

/// Types of principals.
pub(crate) const PRINCIPALS: [&str; 5] = ["Role", "User", "Root", "Service", "Other"];
/// Types that a document may list as members of groups.
pub(crate) const MEMBERS: [&str; 9] =
    ["Group", "Account", "KeyStore", "Role", "User", "Root", "Service", "Other", "Key"];

const TEXT: &str = include_str!("../schema.cedarschema");

/// The schema and its entity types, read once.
pub(crate) struct Names {
    pub(crate) schema: Schema,
    pub(crate) role: EntityTypeName,
    pub(crate) user: EntityTypeName,
    pub(crate) root: EntityTypeName,
    pub(crate) service: EntityTypeName,
    pub(crate) other: EntityTypeName,
    pub(crate) account: EntityTypeName,
    pub(crate) key: EntityTypeName,
    pub(crate) key_store: EntityTypeName,
    pub(crate) other_metadata: EntityTypeName,
    get_key_metadata: EntityUid,
    encrypt: EntityUid,
    decrypt: EntityUid,
}

impl Names {
    /// Fails only where the built-in schema itself is wrong.
    pub(crate) fn read() -> Result<Names, Problem> {
        let (schema, _) = Schema::from_cedarschema_str(TEXT).map_err(built_in)?;
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(built_in);
        let actions = name("Action")?;
        let action = |id: &str| EntityUid::from_type_name_and_id(actions.clone(), EntityId::new(id));
        Ok(Names {
            role: name("Role")?,
            user: name("User")?,
            root: name("Root")?,
            service: name("Service")?,
            other: name("Other")?,
            account: name("Account")?,
            key: name("Key")?,
            key_store: name("KeyStore")?,
            other_metadata: name("OtherMetadata")?,
            get_key_metadata: action("GetKeyMetadata"),
            encrypt: action("Encrypt"),
            decrypt: action("Decrypt"),
            schema,
        })
    }

    pub(crate) fn action(&self, operation: Operation) -> &EntityUid {
        match operation {
            Operation::GetKeyMetadata => &self.get_key_metadata,
            Operation::Encrypt => &self.encrypt,
            Operation::Decrypt => &self.decrypt,
        }
    }
}

fn built_in(error: impl std::fmt::Display) -> Problem {
    Problem { source: String::new(), line: 0, column: 0, message: format!("the built-in schema: {error}") }
}
