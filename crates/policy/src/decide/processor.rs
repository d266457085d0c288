//! A decision's own time: what threads spent on a processor for it. Waiting for a processor is nobody's fault.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// For how long this thread was on a processor.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Nobody has looked at the clock: it costs a system call, and most decisions are done before it matters.
const UNWATCHED: u64 = u64::MAX;

/// The processor time of one decision, whichever threads run it one after the other. In nanoseconds.
pub(crate) struct Spent {
    /// Of the times that it ran and made way.
    before: AtomicU64,
    /// Its thread's time when it began to run for this time.
    since: AtomicU64,
}

impl Spent {
    pub(crate) const fn new() -> Spent {
        Spent { before: AtomicU64::new(0), since: AtomicU64::new(UNWATCHED) }
    }

    /// Counts from now on. To be called where it runs.
    pub(crate) fn watch(&self) {
        if !self.is_watched() {
            self.begin();
        }
    }

    /// The time so far, but for what was spent before [`Spent::watch`]. To be called where it runs.
    pub(crate) fn so_far(&self) -> Duration {
        let since = self.since.load(Ordering::Relaxed);
        let now = if since == UNWATCHED { 0 } else { nanoseconds().saturating_sub(since) };
        Duration::from_nanos(self.before.load(Ordering::Relaxed).saturating_add(now))
    }

    /// The time of all that it ran before it made way last.
    fn settled(&self) -> u64 {
        self.before.load(Ordering::Relaxed)
    }

    fn is_watched(&self) -> bool {
        self.since.load(Ordering::Relaxed) != UNWATCHED
    }

    fn begin(&self) {
        self.since.store(nanoseconds(), Ordering::Relaxed);
    }

    fn end(&self) {
        let ran = nanoseconds().saturating_sub(self.since.load(Ordering::Relaxed));
        self.before.fetch_add(ran, Ordering::Relaxed);
    }

    /// Runs a decision so that its time is counted on each thread that polls it.
    pub(crate) async fn count<T>(&self, decision: impl Future<Output = T>) -> T {
        let mut decision = pin!(decision);
        poll_fn(|context| {
            if self.is_watched() {
                self.begin();
            }
            let polled = decision.as_mut().poll(context);
            if self.is_watched() {
                self.end();
            }
            polled
        })
        .await
    }

    /// Gives `None` where a decision neither ends nor runs for `time`: it waits inside WASI, where no tick of the engine's
    /// ends it.
    ///
    /// The time is taken in steps. At the end of each the decision is polled before it is judged, so that one that waits for
    /// its thread, and not for WASI, has run by then.
    pub(crate) async fn unless_waiting<T>(
        &self,
        time: Duration,
        decision: impl Future<Output = T>,
    ) -> Option<T> {
        let mut decision = pin!(self.count(decision));
        let (mut idle, mut last) = (0, self.settled());
        while idle < STEPS {
            tokio::select! {
                biased;
                decided = &mut decision => return Some(decided),
                () = tokio::time::sleep(time / STEPS) => {}
            }
            let polled = poll_fn(|context| std::task::Poll::Ready(decision.as_mut().poll(context))).await;
            if let std::task::Poll::Ready(decided) = polled {
                return Some(decided);
            }
            let now = self.settled();
            idle = if now == last { idle + 1 } else { 0 };
            last = now;
        }
        None
    }
}

/// That a wait is taken in.
const STEPS: u32 = 8;

fn nanoseconds() -> u64 {
    u64::try_from(processor_time().as_nanos()).unwrap_or(UNWATCHED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(40);

    fn burn(time: Duration) {
        let before = processor_time();
        while processor_time() - before < time {}
    }

    #[tokio::test]
    async fn a_decision_that_waits_inside_wasi_ends() {
        let spent = Spent::new();
        assert!(spent.unless_waiting(TIME, std::future::pending::<()>()).await.is_none());
    }

    #[tokio::test]
    async fn a_decision_that_is_kept_waiting_but_runs_when_it_can_goes_on() {
        let spent = Spent::new();
        let starved = async {
            spent.watch();
            for _ in 0..3 * STEPS {
                // Its thread is somebody else's for longer than the whole time.
                std::thread::sleep(TIME / 4);
                burn(Duration::from_micros(100));
                tokio::task::yield_now().await;
            }
        };
        assert!(spent.unless_waiting(TIME / 8, starved).await.is_some());
    }

    #[test]
    fn waiting_costs_a_decision_nothing_and_running_does_on_every_thread() {
        let spent = Spent::new();
        let decision = spent.count(async {
            spent.watch();
            burn(Duration::from_millis(3));
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_millis(30));
            burn(Duration::from_millis(3));
            spent.so_far()
        });
        let mut decision = Box::pin(decision);
        assert!(polled(&mut decision).is_none());
        let taken =
            std::thread::scope(|scope| scope.spawn(|| polled(&mut decision)).join().unwrap()).unwrap();
        assert!(taken >= Duration::from_millis(6), "{taken:?}");
        assert!(taken < Duration::from_millis(30), "{taken:?}");
    }

    fn polled<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
