//! One decision.

pub(crate) mod bindings;
pub(crate) mod cache;
pub(crate) mod component;
pub(crate) mod engines;
pub(crate) mod facts;
pub(crate) mod failure;
pub(crate) mod guest;
pub(crate) mod limits;
pub(crate) mod load_error;
pub(crate) mod loaded;
pub(crate) mod slow;
pub(crate) mod wasi;
pub(crate) mod world;

pub use component::ComponentPolicy;
pub use limits::{Awake, Limits, Sandbox};
pub use load_error::LoadError;
pub use wasi::WASI_PACKAGES;
pub use world::fits;
