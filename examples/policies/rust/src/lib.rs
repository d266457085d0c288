//! A policy in Rust: one role uses one key through one service.

wit_bindgen::generate!({ path: "wit", world: "policy-engine" });

use exports::holdfast::policy::policy::Guest;
use holdfast::policy::types::{
    Decision, Description, Effect, Facts, Identity, Operation, Problem, Query, Source,
};

const LOOK: &str = "look-at-keys";
const VOLUMES: &str = "volumes";
const NO_ROOT: &str = "no-root-users";

struct Policy;

impl Guest for Policy {
    /// This policy's rules are its code; it takes no document.
    fn configure(document: Vec<Source>) -> Result<(), Vec<Problem>> {
        match document.into_iter().next() {
            None => Ok(()),
            Some(source) => {
                let message = "this policy takes no document".into();
                Err(vec![Problem { source: source.name, line: 0, column: 0, message }])
            }
        }
    }

    /// Only facts that are named here are filled in, and decisions are cached by their values.
    fn describe() -> Description {
        Description {
            engine: "small (Rust)".into(),
            reads: Facts::OPERATION | Facts::KEY_ID | Facts::PRINCIPAL | Facts::VIA_SERVICE,
            rules: vec![LOOK.into(), VOLUMES.into(), NO_ROOT.into()],
            messages: vec![(NO_ROOT.into(), "Root users don't work with data here. Use a role.".into())],
        }
    }

    fn evaluate(query: Query) -> Decision {
        if query.operation == Operation::GetKeyMetadata {
            return decide(Effect::Allow, Some(LOOK));
        }
        let Identity::Arn(principal) = &query.principal else { return decide(Effect::Deny, None) };
        if principal.service == "iam" && principal.resource == "root" {
            return decide(Effect::Deny, Some(NO_ROOT));
        }
        let app = principal.account == "111122223333" && principal.role.as_deref() == Some("App");
        let volumes = query.key_id == "demo" && query.via_service.as_deref() == Some("ebs");
        match app && volumes {
            true => decide(Effect::Allow, Some(VOLUMES)),
            false => decide(Effect::Deny, None),
        }
    }
}

fn decide(effect: Effect, rule: Option<&str>) -> Decision {
    Decision { effect, rules: rule.into_iter().map(Into::into).collect(), errors: Vec::new() }
}

export!(Policy);
