//! The engines: one that reads documents, one of decisions, one without a pool, one that counts instructions.

use std::sync::Arc;

use holdfast_sandbox::CompiledFunctions;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, RegallocAlgorithm,
};

use crate::decide::guest::TABLE_ELEMENTS;
use crate::decide::limits::Limits;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Stack of a guest.
const WASM_STACK: usize = 256 * KIB;
/// Stack of the fiber that the guest runs on: the rest is for the host's own calls (see `async_stack_size`).
const FIBER_STACK: usize = 3 * WASM_STACK;
/// Validating and parsing recurse more deeply than evaluating does.
const LOADING_WASM_STACK: usize = MIB;
const LOADING_FIBER_STACK: usize = 3 * LOADING_WASM_STACK;

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
pub(crate) fn loading_engine() -> wasmtime::Result<Engine> {
    let mut config = config(LOADING_WASM_STACK, LOADING_FIBER_STACK);
    config.cranelift_opt_level(OptLevel::None).cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    Engine::new(&config)
}

/// The engine of decisions: a pool of instances whose memories are reset by the pages that were written. It takes `functions`
/// for compiled.
pub(crate) fn deciding_engine(
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
pub(crate) fn unpooled_engine() -> wasmtime::Result<Engine> {
    Engine::new(&config(LOADING_WASM_STACK, LOADING_FIBER_STACK))
}

/// The engine that counts instructions.
pub(crate) fn measuring_engine(limits: &Limits) -> wasmtime::Result<Engine> {
    let mut config = config(LOADING_WASM_STACK, LOADING_FIBER_STACK);
    config.consume_fuel(true).memory_reservation(u64::try_from(limits.memory)?);
    Engine::new(&config)
}
