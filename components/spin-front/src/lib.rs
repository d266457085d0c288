//! Serves HTTP under Spin: settings from Spin's variables, requests from wasi:http, answers from the gate and the proxy.
//!
//! It decides nothing. What it may ask of the gate is `holdfast:gate/intake` (`wit/gate`).
//!
//! What it must never do: hand on a body, a status or a header that the gate didn't give, log a setting's value, or answer while
//! there are no settings.
//!
//! It exports nothing but its `wasi:http` handler.

#[cfg(target_arch = "wasm32")]
mod front;
