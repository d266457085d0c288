//! One run of a policy's component: its limits, and how it makes way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};

use crate::decide::failure::LimitReached;
use crate::decide::processor::{Spent, processor_time};
use crate::decide::wasi::{Denied, HasWasi};

/// Of all tables together.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;
/// Core instances, memories and tables of one component outside of the pool. componentize-py makes the most: it links a
/// module for each of its libraries, about twenty, to one memory and two tables.
const CORE_INSTANCES: usize = 64;
const MEMORIES: usize = 16;
const TABLES: usize = 16;
const HANDLES: usize = 64;
/// What a decision that began on a request's thread runs for, from its first tick on, before it goes on elsewhere. It is the
/// processor's time: a thread that was kept waiting isn't slow.
const LONG: Duration = Duration::from_micros(500);
/// And whatever its time, no more than so many ticks.
const HOME_TICKS: u32 = 4;

/// As long as a tick.
const PAUSE: Duration = Duration::from_millis(1);

/// What a store knows of its guest: how far it may go, and the WASI that it has where it needs any.
pub(crate) struct Bounds {
    started: Instant,
    time: Duration,
    ticks: u32,
    spent: Arc<Spent>,
    /// The thread's time on a processor at the first tick, until the decision makes way.
    first: Option<Duration>,
    memory: usize,
    used: usize,
    elements: usize,
    pub(crate) wasi: Option<Box<Denied>>,
}

impl Bounds {
    /// What counts the guest's time.
    pub(crate) fn spent(&self) -> Arc<Spent> {
        self.spent.clone()
    }

    /// Bytes of all linear memories.
    pub(crate) fn memory_used(&self) -> usize {
        self.used
    }

    /// Whether the guest has had all of its time.
    fn is_over(&self, run: Run) -> bool {
        match run {
            // Ticks are seen only while it runs: a machine that is busy makes them fewer.
            Run::Loading => {
                self.started.elapsed() > self.time && u128::from(self.ticks) > self.time.as_millis()
            }
            Run::Deciding | Run::Shadowing => self.spent.so_far() > self.time,
        }
    }
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

/// What follows each tick of a decision that takes long: it pauses for as long as it ran, so that it never has more than half of
/// a processor.
fn pause() -> UpdateDeadline {
    UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(PAUSE)))
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
            spent: Arc::new(Spent::new()),
            first: None,
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
        bounds.spent.watch();
        if bounds.is_over(run) {
            return Err(LimitReached::Time(bounds.time.as_millis()).into());
        }
        Ok(match run {
            Run::Loading => UpdateDeadline::Yield(1),
            Run::Shadowing => pause(),
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
                None => pause(),
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
}
