//! How a policy's component is run: the engine's settings, and the limits of one run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::Component;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm, ResourceLimiter, Store, UpdateDeadline,
};

use super::failure::LimitReached;
use super::functions::CompiledFunctions;
use super::wasi::Denied;
use crate::sandbox::pause;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Stack of a guest.
const WASM_STACK: usize = 256 * KIB;
/// Stack of the fiber that the guest runs on: the rest is for the host's own calls (see `async_stack_size`).
const FIBER_STACK: usize = 3 * WASM_STACK;
/// Validating and parsing recurse more deeply than evaluating does.
const LOADING_WASM_STACK: usize = MIB;
const LOADING_FIBER_STACK: usize = 3 * LOADING_WASM_STACK;
const TABLE_ELEMENTS: usize = 20_000;
const HANDLES: usize = 64;
/// A guest is out of time only after it was seen running this often: on a busy machine the host itself may have waited.
const LEAST_TICKS: u32 = 8;
/// What a decision that began on a request's thread runs for, from its first tick on, before it goes on elsewhere. It is the
/// processor's time: a thread that was kept waiting isn't slow.
const LONG: Duration = Duration::from_micros(500);
/// And whatever its time, no more than so many ticks.
const HOME_TICKS: u32 = 4;

/// What a policy's component may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Time of one decision.
    pub time: Duration,
    /// Time of reading and checking the document, once.
    pub loading_time: Duration,
    /// Bytes of linear memory, the document included.
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

/// What the policy needs of the host's sandbox.
#[derive(Clone, Copy)]
pub struct Sandbox<'a> {
    /// Compiles a component, or takes it from a cache of compiled code.
    pub compile: &'a (dyn Fn(&Engine, &[u8]) -> wasmtime::Result<Component> + Sync),
    /// Increments the engine's epoch at a steady pace (1 to 10 ms) for as long as the engine lives.
    pub watch: &'a (dyn Fn(&Engine) + Sync),
}

/// The settings of both engines. No proposal that the contract doesn't need is on.
fn config(stack: usize, fiber: usize) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(stack)
        .async_stack_size(fiber)
        .wasm_backtrace_max_frames(None)
        .wasm_simd(true)
        .wasm_memory64(false);
    config
}

/// The engine that reads a document once: quick to compile for, and memory that may be large.
pub(super) fn loading_engine() -> wasmtime::Result<Engine> {
    let mut config = config(LOADING_WASM_STACK, LOADING_FIBER_STACK);
    config.cranelift_opt_level(OptLevel::None).cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    Engine::new(&config)
}

/// The engine of decisions: a pool of instances whose memories are reset by the pages that were written. It takes `functions`
/// for compiled.
pub(super) fn deciding_engine(
    limits: &Limits,
    functions: Option<Arc<CompiledFunctions>>,
) -> wasmtime::Result<Engine> {
    let instances = limits.instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * 4)
        .total_memories(instances)
        .total_tables(instances * 4)
        .total_stacks(instances)
        .max_core_instances_per_component(4)
        .max_memories_per_component(1)
        .max_tables_per_component(4)
        .max_memory_size(limits.memory)
        .table_elements(TABLE_ELEMENTS)
        .max_unused_warm_slots(instances)
        .linear_memory_keep_resident(limits.keep_resident)
        .table_keep_resident(256 * KIB)
        .async_stack_keep_resident(FIBER_STACK)
        .pagemap_scan(Enabled::Auto);
    let mut config = config(WASM_STACK, FIBER_STACK);
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_reservation(u64::try_from(limits.memory)?)
        .memory_reservation_for_growth(0)
        .memory_guard_size(64 * 1024)
        .memory_may_move(false);
    if let Some(functions) = functions {
        config.enable_incremental_compilation(functions)?;
    }
    Engine::new(&config)
}

/// The engine of components that can't be snapshotted: several core modules, or state of WASI's. An instance gets memory
/// of its own, as much as it begins with.
pub(super) fn unpooled_engine() -> wasmtime::Result<Engine> {
    Engine::new(&config(LOADING_WASM_STACK, LOADING_FIBER_STACK))
}

/// The engine that counts instructions.
pub(super) fn measuring_engine(limits: &Limits) -> wasmtime::Result<Engine> {
    let mut config = config(LOADING_WASM_STACK, LOADING_FIBER_STACK);
    config.consume_fuel(true).memory_reservation(u64::try_from(limits.memory)?);
    Engine::new(&config)
}

/// What a store knows of its guest: how far it may go, and the WASI that it has where it needs any.
pub(super) struct Bounds {
    started: Instant,
    time: Duration,
    ticks: u32,
    /// The thread's time on a processor at the first tick, until the decision makes way.
    first: Option<Duration>,
    memory: usize,
    used: usize,
    pub(super) wasi: Option<Box<Denied>>,
}

impl Bounds {
    /// Bytes of the largest linear memory.
    pub(super) fn memory_used(&self) -> usize {
        self.used
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.memory;
        self.used = self.used.max(wanted);
        if wanted > limit { Err(LimitReached::Memory { wanted, limit }.into()) } else { Ok(true) }
    }

    fn table_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(wanted <= TABLE_ELEMENTS)
    }
}

/// For how long this thread was on a processor.
pub(super) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// What a run is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// Reading the document, once and before there are requests: as quick as it can be.
    Loading,
    /// Deciding beside other requests.
    Deciding,
}

/// A store for one run. The guest makes way for other tasks at each epoch, until its time is over.
pub(super) fn store(
    engine: &Engine,
    run: Run,
    time: Duration,
    memory: usize,
    output: usize,
) -> Store<Bounds> {
    let mut store = Store::new(
        engine,
        Bounds { started: Instant::now(), time, ticks: 0, first: None, memory, used: 0, wasi: None },
    );
    store.limiter(|bounds| bounds);
    store.set_hostcall_fuel(output);
    // The contract has no resources; those that a component makes up for itself take the host's memory.
    store.set_max_component_handles(HANDLES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut context| {
        let bounds = context.data_mut();
        bounds.ticks += 1;
        if bounds.ticks >= LEAST_TICKS && bounds.started.elapsed() > bounds.time {
            return Err(LimitReached::Time(bounds.time.as_millis()).into());
        }
        Ok(match run {
            Run::Loading => UpdateDeadline::Yield(1),
            Run::Deciding if bounds.ticks == 1 => {
                bounds.first = Some(processor_time());
                UpdateDeadline::Continue(1)
            }
            Run::Deciding => match bounds.first {
                Some(first) if bounds.ticks < HOME_TICKS && processor_time() < first + LONG => {
                    UpdateDeadline::Continue(1)
                }
                // From here on elsewhere (see `slow`).
                Some(_) => {
                    bounds.first = None;
                    UpdateDeadline::Yield(1)
                }
                None => match pause(bounds.ticks) {
                    // What runs there gives way at each tick.
                    UpdateDeadline::Continue(ticks) => UpdateDeadline::Yield(ticks),
                    paused => paused,
                },
            },
        })
    });
    store
}
