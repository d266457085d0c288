//! What the engine reads, decides and declares, linked natively.

mod decisions;
mod documents;
mod examples;
mod queries;
mod reads;
