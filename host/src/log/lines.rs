//! Log lines on their way to the standard error, by a thread of their own: a pipe that nobody reads, a journal that is stuck or a disk that
//! hangs holds up nobody who has something to say. What doesn't fit meanwhile is counted, and told once there is room.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const WAITING: usize = 4096;

/// The queue of lines. Clones share it.
#[derive(Clone)]
pub struct Lines {
    queue: SyncSender<Said>,
    lost: Arc<AtomicU64>,
}

enum Said {
    Line(Vec<u8>),
    /// Told when all before it is written.
    End(SyncSender<()>),
}

impl Lines {
    /// Starts the thread. `as_lost` is the line that says how many are missing.
    pub fn start(
        sink: impl Write + Send + 'static,
        as_lost: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Lines> {
        let (queue, said) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let lines = Lines { queue, lost: lost.clone() };
        std::thread::Builder::new().name("log".into()).spawn(move || write(sink, &said, &lost, &as_lost))?;
        Ok(lines)
    }

    /// Waits until all that was said is written, at most so long.
    pub fn flush(&self, time: Duration) {
        let (told, end) = sync_channel(1);
        if self.queue.try_send(Said::End(told)).is_ok() {
            // Whatever is left then is left.
            let _: Result<(), RecvTimeoutError> = end.recv_timeout(time);
        }
    }
}

fn write(mut sink: impl Write, said: &Receiver<Said>, lost: &AtomicU64, as_lost: &dyn Fn(u64) -> String) {
    while let Ok(next) = said.recv() {
        // A sink that fails has nobody who could be told.
        match next {
            Said::Line(line) => drop(sink.write_all(&line)),
            Said::End(told) => drop(told.try_send(())),
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            count => drop(sink.write_all(as_lost(count).as_bytes())),
        }
    }
}

impl Write for Lines {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Said::Line(line.to_vec())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_pipe_that_nobody_reads_holds_up_nobody_and_what_is_lost_is_told() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines::start(writer, |count| format!("lost {count}\n")).unwrap();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        for _ in 0..2 * WAITING {
            lines.write_all(&line).unwrap();
        }
        lines.flush(Duration::from_millis(1));
        drop(lines);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let lost =
            text.lines().filter_map(|line| line.strip_prefix("lost ")?.parse::<usize>().ok()).sum::<usize>();
        let written = text.lines().filter(|line| line.starts_with('x')).count();
        assert!(lost > 0, "the pipe and the queue hold less than was said");
        assert_eq!(written + lost, 2 * WAITING);
    }

    #[test]
    fn what_was_said_is_written_at_the_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines::start(writer, |_| String::new()).unwrap();
        lines.write_all(b"last words\n").unwrap();
        lines.flush(Duration::from_secs(60));
        let mut text = [0; 11];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"last words\n");
    }
}
