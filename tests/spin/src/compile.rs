//! From the files to code: composed like `holdfast-spin.wasm`, with the policy plugged in, and what wasmtime compiles is kept
//! for the next start.

use std::hash::{Hash, Hasher};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use holdfast_compose::{Parts, compose};
use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm, Result, format_err,
};

use crate::options::Options;

/// An engine with WASI 0.3 and a pool of instances.
pub fn engine(optimise: bool) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(128)
        .total_core_instances(2048)
        .total_memories(1024)
        .total_tables(2048)
        .total_stacks(256)
        .max_core_instances_per_component(64)
        .max_memories_per_component(16)
        .max_tables_per_component(64)
        .max_component_instance_size(16 << 20)
        .max_memory_size(64 << 20)
        .max_unused_warm_slots(128)
        .async_stack_keep_resident(256 << 10)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(1 << 20);
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_reservation(64 << 20)
        .memory_guard_size(64 << 10);
    if !optimise {
        config
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    }
    Engine::new(&config)
}

/// The component with its policy, compiled now or before.
pub fn component(engine: &Engine, options: &Options) -> Result<Component> {
    let read = |name: &str| std::fs::read(options.components.join(name));
    let proxy = match &options.proxy {
        Some(path) => std::fs::read(path)?,
        None => read("proxy.wasm")?,
    };
    let (sigv4, gate, front) = (read("sigv4.wasm")?, read("spin-gate.wasm")?, read("spin-front.wasm")?);
    let policy = std::fs::read(&options.policy)?;
    let parts = Parts { sigv4: &sigv4, gate: &gate, proxy: &proxy, front: &front, policy: Some(&policy) };
    let bytes = compose(&parts).map_err(|error| format_err!("{error}"))?;
    let mut settings = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let kept = options.cache.join(format!("spin-{digest}-{:016x}.cwasm", settings.finish()));
    if kept.is_file() {
        // SAFETY: the file was written by `keep` below, in a folder of the build's own; like the rest of the build it is
        // trusted.
        return unsafe { Component::deserialize_file(engine, &kept) };
    }
    let component = Component::new(engine, &bytes)?;
    keep(&kept, &component.serialize()?)?;
    Ok(component)
}

/// Never leaves half a file, as several hosts may start at once.
fn keep(path: &Path, code: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        // The native host shares the folder, and wants it private.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&unfinished, code)?;
    Ok(std::fs::rename(&unfinished, path)?)
}
