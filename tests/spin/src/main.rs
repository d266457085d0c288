//! Serves the component that `cargo xtask build` composes, as Spin 4.1 does: WASI 0.3, Spin's variables from
//! `SPIN_VARIABLE_*`, the policy plugged in with no capabilities, instances used again for several requests.
//!
//! For tests and measurements on machines without Spin. Prints `listening on ADDRESS` when it is ready.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use it")]

mod compile;
mod options;
mod serve;
mod state;
mod worker;

use options::Options;

fn main() {
    let options = Options::parse(std::env::args().skip(1)).unwrap_or_else(|problem| {
        eprintln!("{problem}\n{}", options::USAGE);
        std::process::exit(2);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Err(error) = runtime.block_on(serve::run(options)) {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}
