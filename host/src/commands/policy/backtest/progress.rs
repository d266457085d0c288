//! How far a replay is, on the standard error where that is a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const BETWEEN: Duration = Duration::from_millis(200);
const WIDTH: u64 = 30;

/// A bar, and the rate.
pub struct Progress {
    started: Instant,
    shown: Instant,
    total: Option<u64>,
    terminal: bool,
}

impl Progress {
    /// Of so many bytes, if that is known.
    pub fn start(total: Option<u64>) -> Progress {
        let now = Instant::now();
        Progress { started: now, shown: now, total, terminal: std::io::stderr().is_terminal() }
    }

    /// Draws, if it is time.
    pub fn tell(&mut self, bytes: u64, decisions: u64) {
        if self.terminal && self.shown.elapsed() >= BETWEEN {
            self.shown = Instant::now();
            let rate = decisions as f64 / self.started.elapsed().as_secs_f64();
            let bar = self.total.filter(|total| *total > 0).map_or_else(String::new, |total| {
                let filled = (bytes * WIDTH / total).min(WIDTH) as usize;
                let (done, rest) = ("#".repeat(filled), "-".repeat(WIDTH as usize - filled));
                format!("[{done}{rest}] {:3} %  ", bytes * 100 / total)
            });
            // A terminal that has gone changes nothing.
            let _ = write!(std::io::stderr(), "\r{bar}{decisions} decisions, {rate:.0} a second   ");
        }
    }

    /// Tells how it went, and gives the time that it took.
    pub fn end(self, decisions: u64) -> Duration {
        let took = self.started.elapsed();
        let rate = decisions as f64 / took.as_secs_f64().max(1e-9);
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(
            std::io::stderr(),
            "{clear}{decisions} decisions in {:.2} s, {rate:.0} a second",
            took.as_secs_f64()
        );
        took
    }
}
