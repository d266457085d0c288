//! The limit of one instance's linear memory, which remembers that it was reached.

use wasmtime::ResourceLimiter;

/// Refuses growth past a number of bytes.
pub struct MemoryLimit {
    bytes: usize,
    reached: bool,
}

impl MemoryLimit {
    /// At most `bytes` of linear memory.
    pub fn new(bytes: usize) -> MemoryLimit {
        MemoryLimit { bytes, reached: false }
    }

    /// Whether growth was refused.
    pub fn reached(&self) -> bool {
        self.reached
    }
}

impl AsMut<MemoryLimit> for MemoryLimit {
    fn as_mut(&mut self) -> &mut MemoryLimit {
        self
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.bytes && maximum.is_none_or(|maximum| desired <= maximum);
        self.reached |= !fits;
        Ok(fits)
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}
