//! One run of a policy's component: its limits, and how it makes way.

use std::time::{Duration, Instant};

use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};

use crate::decide::failure::LimitReached;
use crate::decide::wasi::{Denied, HasWasi};
use holdfast_sandbox::{pause, pause_time};

/// Of all tables together.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;
/// Core instances, memories and tables of one component outside of the pool. componentize-py makes the most: it links a
/// module for each of its libraries, about twenty, to one memory and two tables.
const CORE_INSTANCES: usize = 64;
const MEMORIES: usize = 16;
const TABLES: usize = 16;
const HANDLES: usize = 64;
/// A guest is out of time only after it was seen running this often: on a busy machine the host itself may have waited.
pub(crate) const LEAST_TICKS: u32 = 8;
/// What a decision that began on a request's thread runs for, from its first tick on, before it goes on elsewhere. It is the
/// processor's time: a thread that was kept waiting isn't slow.
const LONG: Duration = Duration::from_micros(500);
/// And whatever its time, no more than so many ticks.
const HOME_TICKS: u32 = 4;

/// What a store knows of its guest: how far it may go, and the WASI that it has where it needs any.
pub(crate) struct Bounds {
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
    pub(crate) wasi: Option<Box<Denied>>,
}

impl Bounds {
    /// Bytes of all linear memories.
    pub(crate) fn memory_used(&self) -> usize {
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

impl HasWasi for Bounds {
    fn wasi(&mut self) -> &mut Denied {
        self.wasi.get_or_insert_with(|| Box::new(Denied::at(0)))
    }
}

/// A sum after one of its parts grew.
fn grown(sum: usize, current: usize, wanted: usize) -> usize {
    sum.saturating_add(wanted.saturating_sub(current))
}

/// For how long this thread was on a processor.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// What a run is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Reading the document, once and before there are requests: as quick as it can be.
    Loading,
    /// Deciding beside other requests.
    Deciding,
    /// Deciding for nobody who waits, on a thread that is behind all others.
    Shadowing,
}

/// A store for one run. The guest makes way for other tasks at each epoch, until its time is over.
pub(crate) fn store(
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

    const KIB: usize = 1024;
    const PAGE: usize = 64 * KIB;

    /// Instances of modules in one store that may use so many pages.
    struct Guest {
        engine: Engine,
        store: Store<Bounds>,
    }

    impl Guest {
        fn new(pages: usize) -> Guest {
            let engine = crate::decide::engines::unpooled_engine().unwrap();
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
