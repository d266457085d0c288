//! A wasmtime engine for one contract, its pool sized to the contract's components.

use super::MemoryLimit;
use super::ticker::Ticker;
use std::time::Duration;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline,
};

/// What one instance may use, and how many there are at a time.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Linear memory, in bytes.
    pub memory: usize,
    /// The stack of its code, in bytes.
    pub stack: usize,
    /// What the host copies for it in one call, in bytes (`Store::set_hostcall_fuel`).
    pub copied: usize,
    /// Instances at a time.
    pub instances: u32,
}

/// The stack that is left for host functions, in bytes, beyond what a component's code may take. A component that is
/// called from inside another one's host call runs on a stack of its own, so this needs to hold host frames only.
const HOST_STACK: usize = 256 * 1024;

/// Core instances of one component: its module, and the small ones that join it to its imports.
const CORE_INSTANCES: u32 = 8;

/// Of a memory that an instance leaves behind, in bytes, what is cleared by writing it; what lies beyond is given back to
/// the system. Our components start with 64 and 128 KiB and seldom grow. To clear all of that costs less than to ask the
/// kernel which pages were written (8 us less of 139 a request, measured with two threads).
const KEPT: usize = 256 * 1024;

/// For the instance that is made when a component is loaded.
pub const TRIAL_TIME: Duration = Duration::from_secs(1);

/// Resources that a component holds at a time: a proxy has three kinds, one of each, and no use for more.
const HANDLES: usize = 64;

/// How many ticks a component runs through without a pause. An honest one is done within the first; made to wait for its
/// turn among a thousand others, it would be out of time through no fault of its own.
const FREE_TICKS: u32 = 2;

/// The longest pause, in milliseconds.
const LONGEST_PAUSE: u64 = 8;

/// What follows when code has run through its `ticks`-th tick: it goes on, and from the third on it pauses for 1, 2, 4, and
/// then 8 ms each. Code that doesn't come back gets less and less of the processors this way, and the threads that ran it
/// get to look for new requests, which tokio does between 61 polls, or when there is nothing to poll.
pub fn pause(ticks: u32) -> UpdateDeadline {
    match pause_time(ticks) {
        None => UpdateDeadline::Continue(1),
        Some(time) => UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(time))),
    }
}

/// The pause after code has run through its `ticks`-th tick.
pub fn pause_time(ticks: u32) -> Option<Duration> {
    let late = ticks.checked_sub(FREE_TICKS + 1)?;
    Some(Duration::from_millis((1 << late.min(16)).min(LONGEST_PAUSE)))
}

/// An engine and the bounds of what runs in it.
#[derive(Clone)]
pub struct Sandbox {
    engine: Engine,
    size: Size,
    ticker: Ticker,
}

impl Sandbox {
    /// An engine with its pool. `ticker` gives the time by which code that doesn't come back is interrupted.
    pub fn new(size: Size, ticker: &Ticker) -> wasmtime::Result<Sandbox> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(size.instances)
            .total_core_instances(size.instances * CORE_INSTANCES)
            .total_memories(size.instances)
            .total_tables(size.instances * 4)
            .total_stacks(size.instances)
            .max_core_instances_per_component(CORE_INSTANCES)
            .max_memories_per_component(1)
            .max_tables_per_component(4)
            .max_memory_size(size.memory)
            .linear_memory_keep_resident(KEPT)
            .table_keep_resident(64 * 1024)
            .max_unused_warm_slots(size.instances)
            .pagemap_scan(Enabled::No);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .concurrency_support(false)
            .epoch_interruption(true)
            .max_wasm_stack(size.stack)
            .async_stack_size(size.stack + HOST_STACK)
            .memory_reservation(size.memory as u64)
            .memory_reservation_for_growth(0)
            .memory_may_move(false)
            .memory_guard_size(64 * 1024)
            .wasm_backtrace_max_frames(None);
        let engine = Engine::new(&config)?;
        ticker.add(&engine);
        Ok(Sandbox { engine, size, ticker: ticker.clone() })
    }

    /// The engine, for compiling and linking.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A store for one fresh instance. Its code makes way for other work after some ticks, for longer and longer ([`pause`]);
    /// whoever polls it ends it by dropping the call when its time is over.
    pub fn store<T: AsMut<MemoryLimit> + Send + 'static>(&self, data: T) -> Store<T> {
        self.ticker.awake();
        let mut store = Store::new(&self.engine, data);
        store.limiter(|data| data.as_mut());
        store.set_hostcall_fuel(self.size.copied);
        // The handles of one request are few; wasmtime's default of 100,000 is memory of the host's.
        store.set_max_component_handles(HANDLES);
        store.set_epoch_deadline(1);
        let mut ticks = 0;
        store.epoch_deadline_callback(move |_| {
            ticks += 1;
            Ok(pause(ticks))
        });
        store
    }

    /// The most linear memory of an instance, in bytes.
    pub fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::new(self.size.memory)
    }
}

/// What the start of an instance may do in a trial, in units of fuel: some milliseconds.
pub const TRIAL_FUEL: u64 = 10_000_000;

/// A store for an instance that is made only to see whether it can be. The engine must count fuel.
pub fn trial<T: AsMut<MemoryLimit> + Send + 'static>(engine: &Engine, data: T) -> wasmtime::Result<Store<T>> {
    let mut store = Store::new(engine, data);
    store.limiter(|data| data.as_mut());
    store.set_fuel(TRIAL_FUEL)?;
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_is_soon_done_never_waits_and_code_that_is_not_waits_ever_longer() {
        let times =
            [1, 2, 3, 4, 5, 6, 7, u32::MAX].map(|ticks| pause_time(ticks).map(|time| time.as_millis()));
        assert_eq!(times, [None, None, Some(1), Some(2), Some(4), Some(8), Some(8), Some(8)]);
    }
}
