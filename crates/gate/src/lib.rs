//! The gate's rules: everything that is checked natively before a request may touch a key.
//!
//! Pure functions and values, without I/O, clock or randomness, so that every home of the gate (the native host, a
//! gate component) applies the very same rules. What is a home's own is done between the steps: asking components and
//! keys, waiting, and knowing the time.
//!
//! The way of a request: [`request::Head`] -> [`request::Expecting`] -> [`request::Authentic`] ->
//! [`admission::Admission`] -> [`admission::Asked`] -> [`grant::Grant`] -> [`reply::check`] (what may leave) ->
//! [`record`] (what is written of it). Each is made only by consuming the one before, and what is known so far is in the
//! [`Trace`].
//!
//! What it must never do: make a later step's value without the earlier one's, take a component's word for anything that can be
//! compared with what was received, let text that a component wrote about a body leave, or tell an unknown access key id from a wrong
//! signature.
//!
//! It exports the steps as modules, the interfaces of what is behind them ([`backend`], [`query`]), and the specification's
//! errors ([`Refusal`], [`ErrorName`]).

pub mod admission;
pub mod aead;
pub mod arn;
pub mod backend;
pub mod body;
mod counter;
mod error;
pub mod facts;
pub mod grant;
pub mod query;
pub mod record;
pub mod refusals;
pub mod reply;
pub mod request;
pub mod rules;
pub mod sigv4;
pub mod strict;
pub mod target;
mod trace;

pub use counter::Counter;
pub use error::{ErrorName, Refusal};
pub use trace::Trace;
