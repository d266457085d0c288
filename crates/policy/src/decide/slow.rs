//! Where decisions go on that aren't done at once: threads of their own, so that those of requests stay free.
//!
//! A decision begins on its request's thread, where an honest one ends within a fraction of a tick. What runs longer than
//! that, because it loops or takes memory or because an interpreter runs it, would hold up all requests that this thread
//! has to look after. A policy that did so lately has all its decisions made elsewhere from the beginning.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::decide::guest::processor_time;
use crate::policy::PolicyFailure;
use holdfast_sandbox::{SandboxFailure, priority};

/// Something that is decided, on whatever thread.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = Result<T, PolicyFailure>> + Send>>;

/// For so long after its last slow decision a policy counts as slow.
const REMEMBERED: Duration = Duration::from_secs(10);
/// A decision that takes the processor for longer is a slow one, even if it makes way for nobody.
const LONG: Duration = Duration::from_micros(300);

/// Whether a policy's decisions took long lately.
pub(crate) struct Pace {
    since: Instant,
    /// The end of the policy's time as a slow one, in milliseconds from `since`.
    slow_until: AtomicU64,
    /// Until then it is looked at more closely: a decision took long, but its thread may have been kept waiting.
    suspect_until: AtomicU64,
}

impl Pace {
    /// Of a policy of which nothing is known.
    pub(crate) fn new() -> Pace {
        Pace { since: Instant::now(), slow_until: AtomicU64::new(0), suspect_until: AtomicU64::new(0) }
    }

    fn is_now_before(&self, end: &AtomicU64) -> bool {
        end.load(Ordering::Relaxed) > self.now()
    }

    fn remember(&self, end: &AtomicU64) {
        end.store(self.now().saturating_add(REMEMBERED.as_millis() as u64), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs `work` here until it makes way for the first time, and then on a thread for slow decisions; there from the
    /// beginning where the policy is slow. It ends where the future of this function is dropped.
    pub(crate) async fn run<T: Send + 'static>(&self, mut work: Work<T>) -> Result<T, PolicyFailure> {
        if !self.is_now_before(&self.slow_until) {
            if let Some(done) = self.begin_here(&mut work).await {
                return done;
            }
            self.remember(&self.slow_until);
        }
        let Some(threads) = threads() else { return work.await };
        let rest = async move {
            let mut work = giving_way(work);
            let before = processor_time();
            match begin(&mut work).await {
                Some(done) => (done, processor_time().saturating_sub(before) > LONG),
                None => (work.await, true),
            }
        };
        let mut rest = Rest(threads.spawn(rest));
        match (&mut rest.0).await {
            Ok((done, slow)) => {
                if slow {
                    self.remember(&self.slow_until);
                }
                done
            }
            Err(error) => Err(PolicyFailure {
                kind: SandboxFailure::Trap,
                detail: format!("the host failed at it: {error}"),
            }),
        }
    }

    /// Runs `work` until it makes way, and notes whether it took long. The clock that tells takes longer to read than
    /// others: it is asked only after the cheap one made the policy suspect.
    async fn begin_here<T>(&self, work: &mut Work<T>) -> Option<Result<T, PolicyFailure>> {
        let watched = self.is_now_before(&self.suspect_until).then(processor_time);
        let started = Instant::now();
        let done = begin(work).await;
        if started.elapsed() > LONG {
            self.remember(&self.suspect_until);
            if watched.is_some_and(|before| processor_time().saturating_sub(before) > LONG) {
                self.remember(&self.slow_until);
            }
        }
        done
    }
}

/// Runs `work` until it makes way. `None` where it isn't done then.
async fn begin<T>(work: &mut Work<T>) -> Option<Result<T, PolicyFailure>> {
    poll_fn(|context| {
        Poll::Ready(match work.as_mut().poll(context) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        })
    })
    .await
}

/// The same work, which lets other threads of its processor go first whenever it goes on. The scheduler doesn't by itself:
/// where a request's thread was interrupted and has had more than its share of the moment, it would wait until the next tick
/// of the kernel's clock (1 to 4 ms), with the requests of all connections that it looks after.
fn giving_way<T: 'static>(mut work: Work<T>) -> Work<T> {
    Box::pin(poll_fn(move |context| {
        std::thread::yield_now();
        work.as_mut().poll(context)
    }))
}

/// Work on another thread, which nobody needs any more when this is dropped.
struct Rest<T>(JoinHandle<T>);

impl<T> Drop for Rest<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The threads, one for each processor, started by the first slow decision; `None` where they can't be.
fn threads() -> Option<&'static Runtime> {
    static THREADS: OnceLock<Option<Runtime>> = OnceLock::new();
    let start = || {
        Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(2, usize::from))
            .thread_name("slow decisions")
            .on_thread_start(priority::behind_who_wakes)
            .enable_time()
            .build()
    };
    THREADS
        .get_or_init(|| {
            // tokio panics where a thread can't be started.
            std::panic::catch_unwind(start)
                .unwrap_or_else(|_| Err(std::io::Error::other("no more threads")))
                .inspect_err(|error| tracing::warn!(%error, "slow decisions get no threads of their own"))
                .ok()
        })
        .as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Option<String> {
        std::thread::current().name().map(str::to_owned)
    }

    async fn quick() -> Result<Option<String>, PolicyFailure> {
        Ok(name())
    }

    /// Is done at once, after so long on the processor.
    async fn busy() -> Result<Option<String>, PolicyFailure> {
        let before = processor_time();
        while processor_time() - before < 2 * LONG {}
        Ok(name())
    }

    /// Is done at once, after its thread was kept waiting.
    async fn waiting() -> Result<Option<String>, PolicyFailure> {
        std::thread::sleep(2 * LONG);
        Ok(name())
    }

    async fn slow() -> Result<Option<String>, PolicyFailure> {
        tokio::task::yield_now().await;
        Ok(name())
    }

    #[tokio::test]
    async fn what_is_done_at_once_stays_here_and_what_is_not_goes_elsewhere() {
        let (here, pace) = (name(), Pace::new());
        assert_eq!(pace.run(Box::pin(quick())).await.unwrap(), here);
        assert_eq!(pace.run(Box::pin(quick())).await.unwrap(), here);
        assert_eq!(pace.run(Box::pin(slow())).await.unwrap().as_deref(), Some("slow decisions"));
    }

    #[tokio::test]
    async fn a_policy_that_was_slow_begins_elsewhere_for_a_while() {
        let (here, pace) = (name(), Pace::new());
        pace.run(Box::pin(slow())).await.unwrap();
        assert_eq!(pace.run(Box::pin(quick())).await.unwrap().as_deref(), Some("slow decisions"));
        pace.slow_until.store(pace.now(), Ordering::Relaxed);
        assert_eq!(pace.run(Box::pin(quick())).await.unwrap(), here);
    }

    #[tokio::test]
    async fn a_policy_that_takes_the_processor_for_long_is_slow() {
        let (here, pace) = (name(), Pace::new());
        for _ in 0..2 {
            assert_eq!(pace.run(Box::pin(busy())).await.unwrap(), here);
        }
        assert_eq!(pace.run(Box::pin(busy())).await.unwrap().as_deref(), Some("slow decisions"));
        pace.slow_until.store(pace.now() + 1000, Ordering::Relaxed);
        pace.run(Box::pin(busy())).await.unwrap();
        assert!(pace.slow_until.load(Ordering::Relaxed) > pace.now() + 1000);
    }

    #[tokio::test]
    async fn a_policy_whose_thread_was_kept_waiting_is_not() {
        let (here, pace) = (name(), Pace::new());
        for _ in 0..4 {
            assert_eq!(pace.run(Box::pin(waiting())).await.unwrap(), here);
        }
        assert!(pace.is_now_before(&pace.suspect_until));
    }

    #[tokio::test]
    async fn a_policy_that_stays_slow_elsewhere_stays_there() {
        let pace = Pace::new();
        pace.run(Box::pin(slow())).await.unwrap();
        // Only just remembered.
        pace.slow_until.store(pace.now() + 1000, Ordering::Relaxed);
        pace.run(Box::pin(quick())).await.unwrap();
        assert!(pace.slow_until.load(Ordering::Relaxed) <= pace.now() + 1000);
        pace.run(Box::pin(slow())).await.unwrap();
        assert!(pace.slow_until.load(Ordering::Relaxed) > pace.now() + 1000);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends() {
        let (ended, mut ends) = tokio::sync::oneshot::channel::<()>();
        let pace = Pace::new();
        let work = pace.run(Box::pin(async move {
            let _held = ended;
            std::future::pending::<()>().await;
            Ok(())
        }));
        tokio::select! {
            biased;
            _ = work => panic!("it never ends by itself"),
            () = tokio::task::yield_now() => {}
        }
        assert!((&mut ends).await.is_err());
    }
}
