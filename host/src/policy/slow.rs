//! Where decisions go on that aren't done at once: threads of their own, so that those of requests stay free.
//!
//! A decision begins on its request's thread, where an honest one ends within its first tick. What runs longer than
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

use super::{PolicyFailure, priority};
use crate::sandbox::SandboxFailure;

/// Something that is decided, on whatever thread.
pub(super) type Work<T> = Pin<Box<dyn Future<Output = Result<T, PolicyFailure>> + Send>>;

/// For so long after its last slow decision a policy counts as slow.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Whether a policy's decisions took long lately.
pub(super) struct Pace {
    since: Instant,
    /// The end of the policy's time as a slow one, in milliseconds from `since`.
    slow_until: AtomicU64,
}

impl Pace {
    /// Of a policy of which nothing is known.
    pub(super) fn new() -> Pace {
        Pace { since: Instant::now(), slow_until: AtomicU64::new(0) }
    }

    fn is_slow(&self) -> bool {
        self.slow_until.load(Ordering::Relaxed) > self.now()
    }

    fn note_slow(&self) {
        let end = self.now().saturating_add(REMEMBERED.as_millis() as u64);
        self.slow_until.store(end, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs `work` here until it makes way for the first time, and then on a thread for slow decisions; there from the
    /// beginning where the policy is slow. It ends where the future of this function is dropped.
    pub(super) async fn run<T: Send + 'static>(&self, mut work: Work<T>) -> Result<T, PolicyFailure> {
        if !self.is_slow() {
            if let Some(done) = begin(&mut work).await {
                return done;
            }
            self.note_slow();
        }
        let Some(threads) = threads() else { return work.await };
        let rest = async move {
            let mut work = giving_way(work);
            match begin(&mut work).await {
                Some(done) => (done, false),
                None => (work.await, true),
            }
        };
        let mut rest = Rest(threads.spawn(rest));
        match (&mut rest.0).await {
            Ok((done, slow)) => {
                if slow {
                    self.note_slow();
                }
                done
            }
            Err(error) => Err(PolicyFailure {
                kind: SandboxFailure::Trap,
                detail: format!("the host failed at it: {error}"),
            }),
        }
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
