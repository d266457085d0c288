//! The contract's types.

wit_bindgen::generate!({
    path: "../../wit/policy",
    world: "policy-engine",
    additional_derives: [PartialEq, Clone],
});
