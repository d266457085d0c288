//! WASI with everything denied, for components whose language can't do without it.
//!
//! There are no files, no arguments, no environment and no network; what is written to the standard streams is dropped.
//! The clocks show the time of the query where the policy declares that it reads it, and else stand at 0; random numbers
//! are always the same. So a decision stays a function of the query, and can be replayed.

use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, ResourceTable, WasiCtx, WasiView};

/// The packages of WASI 0.2 that a component may import from. Not `http`: there is nothing empty to give for it.
pub const WASI_PACKAGES: &[&str] =
    &["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
/// Repeated without end.
const RANDOM: &[u8] = b"not random, so that decisions are repeatable";
const RANDOM_LIMIT: u64 = 64 * 1024;

/// Whether an import is given, in its denied form.
pub(crate) fn is_given(import: &str) -> bool {
    WASI_PACKAGES.iter().any(|package| import.starts_with(package))
}

/// Puts the denied WASI into a linker.
pub(crate) fn add_to_linker<T: WasiView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

/// What one instance has of WASI.
pub(crate) struct Denied {
    pub(crate) ctx: WasiCtx,
    pub(crate) table: ResourceTable,
}

impl Denied {
    /// Whose clocks show `time`, in seconds since 1970.
    pub(crate) fn at(time: u64) -> Denied {
        let random = || Deterministic::new(RANDOM.to_vec());
        let ctx = WasiCtx::builder()
            .wall_clock(Fixed(time))
            .monotonic_clock(Fixed(0))
            .secure_random(random())
            .insecure_random(random())
            .insecure_random_seed(0)
            .max_random_size(RANDOM_LIMIT)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Denied { ctx, table: ResourceTable::new() }
    }
}

struct Fixed(u64);

impl HostWallClock for Fixed {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl HostMonotonicClock for Fixed {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        self.0
    }
}
