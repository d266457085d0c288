//! What a task prints: steps with their reason and time, coloured on a terminal only.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::lanes;

pub use crate::colour::{bad, bold, dim, good};

/// Prints what is about to be done and why, does it, prints how long it took.
pub fn step<T>(title: &str, why: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format!("{} {}", bold(format!("== {title}")), dim(format!("({why})"))));
    let started = Instant::now();
    let result = work();
    let took = seconds(started.elapsed());
    match &result {
        Ok(_) => say(format!("   {} in {took}", good("done"))),
        Err(_) => say(format!("   {} after {took}", bad("failed"))),
    }
    result
}

/// A line that belongs to the step under way.
pub fn note(text: impl Display) {
    say(format!("   {text}"));
}

/// A line, which says whose it is where two things are done at once.
pub fn say(text: impl Display) {
    match lanes::current() {
        Some(lane) => lane.say(text),
        None => println!("{text}"),
    }
}

/// `0.3 s`, `12 s`, `3 min 5 s`.
pub fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}
