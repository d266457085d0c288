//! What is logged, on the standard error. Once the host serves, each kind of warning and error has so many lines in a
//! while: most can be caused by requests, and a disk full of log lines is an outage. Counters stay exact.

mod lines;

pub use lines::Lines;

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt as form};

/// How long one while is.
const WHILE: Duration = Duration::from_secs(10);
/// Lines of one kind in a while.
const LINES: u64 = 10;

/// The form of log lines.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `$RUST_LOG` says what is logged: a level, or levels of modules as in `info,holdfast=debug`.
pub fn start(format: LogFormat) -> std::io::Result<(Quota, Lines)> {
    let quota = Quota::default();
    let chosen = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let chosen = chosen.unwrap_or_else(|| Targets::new().with_default(Level::INFO));
    let lost = move |count: u64| match format {
        LogFormat::Text => {
            format!("{count} LOG LINES ARE LOST: the standard error didn't take them in time\n")
        }
        LogFormat::Json => format!(
            "{{\"level\":\"WARN\",\"fields\":{{\"message\":\"log lines are lost: the standard error didn't take them in time\",\"lost\":{count}}}}}\n"
        ),
    };
    let lines = Lines::start(std::io::stderr(), lost)?;
    let layer = form::layer().with_writer(lines.clone());
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))),
        LogFormat::Json => Box::new(layer.json()),
    };
    tracing_subscriber::registry().with(layer).with(chosen).with(quota.clone()).init();
    Ok((quota, lines))
}

/// Counts lines by their kind, which is where in the code they come from.
#[derive(Clone, Default)]
pub struct Quota(Arc<Counted>);

#[derive(Default)]
struct Counted {
    serving: AtomicBool,
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

struct Kind {
    message: String,
    lines: u64,
}

impl Quota {
    /// From now on lines are bounded; each [`WHILE`] tells how many were left out. Never ends.
    pub async fn keep(self) {
        self.0.serving.store(true, Ordering::Relaxed);
        loop {
            tokio::time::sleep(WHILE).await;
            self.tell();
        }
    }

    /// Tells how many lines were left out since the last time, and begins anew.
    pub fn tell(&self) {
        let kinds = std::mem::take(&mut *self.0.kinds.lock().unwrap_or_else(PoisonError::into_inner));
        for Kind { message, lines } in kinds.into_values() {
            let left_out = lines.saturating_sub(LINES);
            if left_out > 0 {
                tracing::warn!(
                    left_out,
                    message_left_out = message,
                    "more lines of one kind than are written"
                );
            }
        }
    }

    fn takes(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let bounded = *metadata.level() <= Level::WARN && metadata.target() != module_path!();
        if !bounded || !self.0.serving.load(Ordering::Relaxed) {
            return true;
        }
        let mut kinds = self.0.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry(metadata.callsite()).or_insert_with(|| {
            let mut message = Message::default();
            event.record(&mut message);
            Kind { message: message.0, lines: 0 }
        });
        kind.lines += 1;
        kind.lines <= LINES
    }
}

impl<S: Subscriber> Layer<S> for Quota {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.takes(event)
    }
}

/// The text of an event, without its fields.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String can't fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_kind_of_line_is_bounded_and_the_rest_counted() {
        let (written, quota) = (Written::default(), Quota::default());
        let writer = written.clone();
        let layer = form::layer().with_ansi(false).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer).with(quota.clone());
        let count = |text: &str| {
            let written = written.0.lock().unwrap();
            String::from_utf8_lossy(&written).lines().filter(|line| line.contains(text)).count()
        };
        let flood = |lines: u64| {
            for line in 0..lines {
                tracing::error!(target: "test", line, "a flood");
                tracing::info!(target: "test", "news");
            }
        };
        tracing::subscriber::with_default(subscriber, || {
            flood(20);
            assert_eq!(count("a flood"), 20, "not bounded while it starts");
            quota.0.serving.store(true, Ordering::Relaxed);
            flood(30);
            tracing::error!(target: "test", "another kind");
            assert_eq!(count("a flood"), 20 + LINES as usize);
            assert_eq!((count("news"), count("another kind")), (50, 1));
            quota.tell();
            assert_eq!(count("left_out=20 message_left_out=\"a flood\""), 1);
            flood(1);
            assert_eq!(count("a flood"), 20 + LINES as usize + 2);
            quota.tell();
            assert_eq!(count("left_out"), 1);
        });
    }
}
