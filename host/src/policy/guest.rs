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
use crate::sandbox::{pause, pause_time};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Stack of a guest.
const WASM_STACK: usize = 256 * KIB;
/// Stack of the fiber that the guest runs on: the rest is for the host's own calls (see `async_stack_size`).
const FIBER_STACK: usize = 3 * WASM_STACK;
/// Validating and parsing recurse more deeply than evaluating does.
const LOADING_WASM_STACK: usize = MIB;
const LOADING_FIBER_STACK: usize = 3 * LOADING_WASM_STACK;
/// Of all tables together.
const TABLE_ELEMENTS: usize = 20_000;
/// Core instances, memories and tables of one component outside of the pool. componentize-py makes the most: it links a
/// module for each of its libraries, about twenty, to one memory and two tables.
const CORE_INSTANCES: usize = 64;
const MEMORIES: usize = 16;
const TABLES: usize = 16;
const HANDLES: usize = 64;
/// A guest is out of time only after it was seen running this often: on a busy machine the host itself may have waited.
pub(super) const LEAST_TICKS: u32 = 8;
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
    /// The same at the beginning, for a shadow's decision.
    processor: Duration,
    memory: usize,
    used: usize,
    elements: usize,
    pub(super) wasi: Option<Box<Denied>>,
}

impl Bounds {
    /// Bytes of all linear memories.
    pub(super) fn memory_used(&self) -> usize {
        self.used
    }

    /// How long the guest has taken. Behind everything else it may wait for long; what counts there is what it would have taken
    /// elsewhere.
    fn taken(&self, run: Run) -> Duration {
        match run {
            Run::Shadowing => with_pauses(processor_time().saturating_sub(self.processor)),
            Run::Loading | Run::Deciding => self.started.elapsed(),
        }
    }
}

/// What a decision takes that runs for so long, with the pauses that it has to make: there is a tick each millisecond.
fn with_pauses(running: Duration) -> Duration {
    let ticks = u32::try_from(running.as_millis()).unwrap_or(u32::MAX).min(1000);
    running + (1..=ticks).filter_map(pause_time).sum::<Duration>()
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        current: usize,
        wanted: usize,
        most: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // It fails anyway, and mustn't count. What fails later, for want of the machine's memory, stays counted.
        if most.is_some_and(|most| wanted > most) {
            return Ok(false);
        }
        let (wanted, limit) = (grown(self.used, current, wanted), self.memory);
        if wanted > limit {
            return Err(LimitReached::Memory { wanted, limit }.into());
        }
        self.used = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        wanted: usize,
        most: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let all = grown(self.elements, current, wanted);
        let fits = all <= TABLE_ELEMENTS && most.is_none_or(|most| wanted <= most);
        if fits {
            self.elements = all;
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }

    fn tables(&self) -> usize {
        TABLES
    }
}

/// A sum after one of its parts grew.
fn grown(sum: usize, current: usize, wanted: usize) -> usize {
    sum.saturating_add(wanted.saturating_sub(current))
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
    /// Deciding for nobody who waits, on a thread that is behind all others.
    Shadowing,
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
        Bounds {
            started: Instant::now(),
            time,
            ticks: 0,
            first: None,
            processor: if run == Run::Shadowing { processor_time() } else { Duration::ZERO },
            memory,
            used: 0,
            elements: 0,
            wasi: None,
        },
    );
    store.limiter(|bounds| bounds);
    store.set_hostcall_fuel(output);
    // The contract has no resources; those that a component makes up for itself take the host's memory.
    store.set_max_component_handles(HANDLES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut context| {
        let bounds = context.data_mut();
        bounds.ticks += 1;
        if bounds.ticks >= LEAST_TICKS && bounds.taken(run) > bounds.time {
            return Err(LimitReached::Time(bounds.time.as_millis()).into());
        }
        Ok(match run {
            Run::Loading => UpdateDeadline::Yield(1),
            Run::Shadowing => pause(bounds.ticks),
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

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Instance, Module};

    const PAGE: usize = 64 * KIB;

    /// Instances of modules in one store that may use so many pages.
    struct Guest {
        engine: Engine,
        store: Store<Bounds>,
    }

    impl Guest {
        fn new(pages: usize) -> Guest {
            let engine = unpooled_engine().unwrap();
            let store = store(&engine, Run::Loading, Duration::from_secs(60), pages * PAGE, KIB);
            Guest { engine, store }
        }

        async fn add(&mut self, module: &str) -> wasmtime::Result<Instance> {
            let module = Module::new(&self.engine, wat::parse_str(module).unwrap())?;
            Instance::new_async(&mut self.store, &module, &[]).await
        }

        async fn grow(&mut self, instance: Instance, by: i32) -> wasmtime::Result<i32> {
            let grow = instance.get_typed_func::<i32, i32>(&mut self.store, "grow")?;
            grow.call_async(&mut self.store, by).await
        }
    }

    fn is_memory(error: &wasmtime::Error) -> bool {
        matches!(error.downcast_ref(), Some(LimitReached::Memory { .. }))
    }

    #[tokio::test]
    async fn all_memories_of_a_guest_share_one_bound() {
        let grows = "(module (memory 4 8)
            (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0))))";
        let mut guest = Guest::new(12);
        let first = guest.add(grows).await.unwrap();
        guest.add("(module (memory 4))").await.unwrap();
        assert_eq!(guest.grow(first, 2).await.unwrap(), 4);
        assert_eq!(guest.grow(first, 3).await.unwrap(), -1, "more than its own maximum");
        assert_eq!(guest.store.data().memory_used(), 10 * PAGE);
        assert!(is_memory(&guest.add("(module (memory 3))").await.unwrap_err()));
        guest.add("(module (memory 1))").await.unwrap();
        assert!(is_memory(&guest.grow(first, 2).await.unwrap_err()));
    }

    #[tokio::test]
    async fn all_tables_of_a_guest_share_one_bound() {
        let mut guest = Guest::new(1);
        guest.add("(module (table 12000 funcref))").await.unwrap();
        assert!(guest.add("(module (table 12000 funcref))").await.is_err());
        guest.add("(module (table 8000 funcref))").await.unwrap();
    }

    #[tokio::test]
    async fn a_guest_has_few_instances_memories_and_tables() {
        for (module, most) in [
            ("(module)", CORE_INSTANCES),
            ("(module (memory 0))", MEMORIES),
            ("(module (table 0 funcref))", TABLES),
        ] {
            let mut guest = Guest::new(1);
            for _ in 0..most {
                guest.add(module).await.unwrap();
            }
            assert!(guest.add(module).await.is_err(), "{module}");
        }
    }

    #[test]
    fn a_shadows_time_is_what_it_would_take_beside_requests() {
        let ms = Duration::from_millis;
        assert_eq!([0, 2, 3, 4].map(|time| with_pauses(ms(time))), [0, 2, 4, 7].map(ms));
        assert!(with_pauses(ms(20)) > ms(50) && with_pauses(ms(5)) < ms(20));
    }
}
