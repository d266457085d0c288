//! What a policy may say: of itself, and in its decisions.

use std::collections::{HashMap, HashSet};

use crate::query::{Decision, Effect};

/// Bytes of a rule's id: it is in every audit record.
const RULE_LIMIT: usize = 256;
/// Bytes of a message for whose request is denied. The specification has less than 512 for the whole errorMessage.
const MESSAGE_LIMIT: usize = 400;
/// Of a text of the component's, in a log line.
const LOGGED_CHARACTERS: usize = 64;

/// The rules of a policy, by which its decisions are taken.
pub struct Rules {
    ids: HashSet<String>,
    messages: HashMap<String, String>,
}

/// A decision that names what the policy doesn't have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionFault {
    /// More rules than there are.
    #[error("it named more rules than it has")]
    TooMany,
    /// A rule that isn't one of the document.
    #[error("it named the rule {0:?}, which it doesn't have")]
    Unknown(String),
}

/// Checks what a policy component says of itself (`wit/policy`, `description`); the error says what is wrong.
pub fn check_description(
    engine: &str,
    rules: &[String],
    messages: &[(String, String)],
) -> Result<(), String> {
    let fits =
        |text: &str| !text.is_empty() && text.len() <= RULE_LIMIT && !text.chars().any(char::is_control);
    if !fits(engine) {
        return Err(format!("the engine's name {engine:?}"));
    }
    if let Some(rule) = rules.iter().find(|rule| !fits(rule)) {
        return Err(format!(
            "the rule id {rule:?}; ids are 1 to {RULE_LIMIT} bytes without control characters"
        ));
    }
    // What errorMessage may consist of (specification, "Error Names").
    let sayable = |text: &String| {
        (1..=MESSAGE_LIMIT).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    match messages.iter().find(|(_, message)| !sayable(message)) {
        Some((rule, _)) => Err(format!(
            "the message of rule {rule:?}; messages are 1 to {MESSAGE_LIMIT} printable ASCII characters"
        )),
        None => Ok(()),
    }
}

impl Rules {
    /// Of a description that [`check_description`] has passed.
    pub fn new(
        ids: impl IntoIterator<Item = String>,
        messages: impl IntoIterator<Item = (String, String)>,
    ) -> Rules {
        Rules { ids: ids.into_iter().collect(), messages: messages.into_iter().collect() }
    }

    /// Takes a decision only if it is one of this document, and denies where there were errors.
    pub fn decision(
        &self,
        effect: Effect,
        rules: Vec<String>,
        errors: Vec<String>,
    ) -> Result<Decision, DecisionFault> {
        if rules.len() > self.ids.len() {
            return Err(DecisionFault::TooMany);
        }
        if let Some(rule) = rules.iter().find(|rule| !self.ids.contains(*rule)) {
            return Err(DecisionFault::Unknown(rule.chars().take(LOGGED_CHARACTERS).collect()));
        }
        let effect = if errors.is_empty() { effect } else { Effect::Deny };
        let message = match effect {
            // A rule that failed didn't decide what its message says.
            Effect::Deny if errors.is_empty() => {
                rules.iter().find_map(|rule| self.messages.get(rule).cloned())
            }
            _ => None,
        };
        Ok(Decision { effect, rules, errors, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::new(["a".to_owned(), "b".to_owned()], [("b".to_owned(), "ask the owner".to_owned())])
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_decision_names_only_rules_that_there_are() {
        assert_eq!(
            rules().decision(Effect::Allow, texts(&["c"]), Vec::new()),
            Err(DecisionFault::Unknown("c".into()))
        );
        let many = texts(&["a", "b", "a"]);
        assert_eq!(rules().decision(Effect::Allow, many, Vec::new()), Err(DecisionFault::TooMany));
    }

    #[test]
    fn errors_deny_and_say_nothing_to_the_client() {
        let decision = rules().decision(Effect::Allow, texts(&["b"]), texts(&["failed"])).unwrap();
        assert_eq!((decision.effect, decision.message), (Effect::Deny, None));
    }

    #[test]
    fn a_denial_tells_the_message_of_its_rule() {
        let decision = rules().decision(Effect::Deny, texts(&["a", "b"]), Vec::new()).unwrap();
        assert_eq!(decision.message.as_deref(), Some("ask the owner"));
        let decision = rules().decision(Effect::Allow, texts(&["b"]), Vec::new()).unwrap();
        assert_eq!(decision.message, None);
    }

    #[test]
    fn a_description_has_ids_and_messages_that_can_be_recorded_and_said() {
        let good = [("a".to_owned(), "say this".to_owned())];
        assert_eq!(check_description("cedar 4", &texts(&["a"]), &good), Ok(()));
        assert!(check_description("", &[], &[]).is_err());
        assert!(check_description("x", &texts(&["a\nb"]), &[]).is_err());
        assert!(check_description("x", &texts(&["a"]), &[("a".to_owned(), "\u{e9}".to_owned())]).is_err());
    }
}
