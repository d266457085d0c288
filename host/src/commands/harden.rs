//! Every command is hardened before it sees a secret.

use wasmtime::PoolingAllocationConfig;

/// Why a command doesn't go on.
#[derive(Debug, thiserror::Error)]
#[error(
    "core dumps of this process and looks into its memory can't be turned off, and it would hold keys: {0}; does a sandbox forbid prctl or setrlimit?"
)]
pub struct NotHardened(#[from] holdfast_secret::HardenError);

/// Nobody but root may look into this process, and it leaves no core.
pub fn process() -> Result<(), NotHardened> {
    has_pagemap_scan();
    Ok(holdfast_secret::harden_process()?)
}

/// wasmtime clears its pooled memories with the help of /proc/self/pagemap, which nobody but root can open once core dumps are off. This
/// opens it, once and for all engines.
pub fn has_pagemap_scan() -> bool {
    PoolingAllocationConfig::is_pagemap_scan_available()
}
