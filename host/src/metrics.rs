//! `/metrics`: made above all that is counted, so that counters know nothing of it.

mod listen;
mod page;
mod scrape;

pub use listen::listen;
