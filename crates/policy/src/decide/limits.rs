//! What a policy may use, and what it needs of the host.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::Component;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What a policy's component may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Time of one decision.
    pub time: Duration,
    /// Time of reading and checking the document, once.
    pub loading_time: Duration,
    /// Bytes of all linear memories together, the document included.
    pub memory: usize,
    /// Bytes of a decision.
    pub output: usize,
    /// Decisions at the same time; more wait.
    pub instances: u32,
    /// Bytes of cached decisions.
    pub cache: usize,
    /// Bytes of an unused instance's memory that stay mapped for the next one.
    pub keep_resident: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Limits {
            time: Duration::from_millis(50),
            loading_time: Duration::from_secs(10),
            memory: 32 * MIB,
            output: 64 * KIB,
            instances: u32::try_from(threads * 4).unwrap_or(64).clamp(8, 64),
            cache: 8 * MIB,
            keep_resident: 2 * MIB,
        }
    }
}

/// Says that a decision begins.
pub type Awake = Arc<dyn Fn() + Send + Sync>;

/// What the policy needs of the host's sandbox.
#[derive(Clone, Copy)]
pub struct Sandbox<'a> {
    /// Compiles a component, or takes it from a cache of compiled code.
    pub compile: &'a (dyn Fn(&Engine, &[u8]) -> wasmtime::Result<Component> + Sync),
    /// Increments the engine's epoch at a steady pace (1 to 10 ms) for as long as the engine lives. It may pause while no
    /// decision began for 20 s, nor anything else that runs.
    pub watch: &'a (dyn Fn(&Engine) -> Awake + Sync),
}
