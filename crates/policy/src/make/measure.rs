//! What a decision takes.

use std::time::{Duration, Instant};

use holdfast_gate::query::Query;

use crate::decide::bindings::types;
use crate::decide::component::ComponentPolicy;
use crate::decide::facts::Reads;
use crate::decide::guest;
use crate::decide::guest::Run;
use crate::decide::load_error::LoadError;
use crate::make::load::Load;
use crate::policy::{Policy, PolicyFailure};

/// Instructions that a decision may take before measuring gives up.
const FUEL: u64 = 100_000_000_000;

/// All decisions of a warm instance.
const WARM: Duration = Duration::from_secs(60);

/// One decision's.
#[derive(Clone, Debug)]
pub struct Cost {
    /// WebAssembly instructions, as wasmtime counts fuel.
    pub instructions: u64,
    /// Bytes of linear memory of an instance at the end.
    pub memory: usize,
}

/// Counts instructions and memory of decisions, each in a fresh instance.
pub async fn costs(load: &Load<'_>, queries: &[Query]) -> Result<Vec<Cost>, LoadError> {
    let loaded = load
        .run_on(crate::decide::engines::measuring_engine(&load.limits).map_err(LoadError::Engine)?)
        .await?;
    let reads = Reads::new(loaded.description.reads);
    let mut costs = Vec::new();
    for query in queries {
        let cost = async {
            let mut store = guest::store(
                &loaded.engine,
                Run::Loading,
                load.limits.loading_time,
                loaded.memory,
                load.limits.output,
            );
            store.set_fuel(FUEL)?;
            let policy = loaded.instance(&mut store, reads.time(query)).await?;
            let before = store.get_fuel()?;
            let view = reads.others(query);
            let view: types::Query<'_> = reads.view(query, &view);
            policy.holdfast_policy_policy().call_evaluate(&mut store, view).await?;
            let instructions = before - store.get_fuel()?;
            Ok::<Cost, wasmtime::Error>(Cost { instructions, memory: store.data().memory_used() })
        };
        costs.push(cost.await.map_err(|error| LoadError::Failed(error.into()))?);
    }
    Ok(costs)
}

/// The times of `count` decisions in fresh instances, one after the other, in the order of `queries`; sorted.
pub async fn fresh_times(
    policy: &ComponentPolicy,
    queries: &[Query],
    count: usize,
) -> Result<Vec<Duration>, PolicyFailure> {
    let mut times = Vec::with_capacity(count);
    for query in queries.iter().cycle().take(count) {
        let started = Instant::now();
        policy.evaluate(query).await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// The mean time of a decision in an instance that has decided before. The host has no such instances: one decision could
/// leave something behind for the next. This is what they would save.
pub async fn warm_time(
    policy: &ComponentPolicy,
    queries: &[Query],
    count: u32,
) -> Result<Duration, PolicyFailure> {
    let (loaded, reads) = policy.parts();
    let time = queries.first().map_or(0, |query| reads.time(query));
    let mut store = guest::store(&loaded.engine, Run::Loading, WARM, loaded.memory, usize::MAX);
    let instance = loaded.instance(&mut store, time).await?;
    let mut took = Duration::ZERO;
    // Once more than is counted: the first decision isn't by a warm instance.
    for (number, query) in (0..=count).zip(queries.iter().cycle()) {
        let started = Instant::now();
        let others = reads.others(query);
        let view = reads.view(query, &others);
        instance.holdfast_policy_policy().call_evaluate(&mut store, view).await?;
        if number > 0 {
            took += started.elapsed();
        }
    }
    Ok(took / count.max(1))
}

/// The mean time of a decision that is in the cache.
pub async fn cached_time(
    policy: &ComponentPolicy,
    query: &Query,
    count: u32,
) -> Result<Duration, PolicyFailure> {
    policy.decide(query).await?;
    let started = Instant::now();
    for _ in 0..count {
        policy.decide(query).await?;
    }
    Ok(started.elapsed() / count.max(1))
}
