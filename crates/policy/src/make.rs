//! From bytes to something that decides.

pub(crate) mod load;
pub(crate) mod loader;
pub(crate) mod measure;
pub(crate) mod self_test;
pub(crate) mod snapshot;
pub(crate) mod stored;
pub(crate) mod strip;

pub use load::Load;
pub use loader::Loader;
pub use measure::{Cost, cached_time, costs, fresh_times, warm_time};
