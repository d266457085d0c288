//! The contracts.

wit_bindgen::generate!({
    path: [
        "../../wit/authn",
        "../../wit/gate",
        "../../wit/policy",
        "wit",
    ],
    world: "holdfast:spin/gate",
    generate_all,
});
