//! Serves HTTP under Spin: settings from Spin's variables, requests from wasi:http, answers from the gate and the proxy.
//!
//! It decides nothing. What it may ask of the gate is `holdfast:gate/intake` (`wit/gate`).

#[cfg(target_arch = "wasm32")]
mod front;
