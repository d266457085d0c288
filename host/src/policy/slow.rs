//! Where decisions go on that aren't done at once: threads of their own, so that those of requests stay free.
//!
//! A decision begins on its request's thread, where an honest one ends within its first ticks. What runs longer than
//! that, because it loops or takes memory or because an interpreter runs it, would hold up all requests that this thread
//! has to look after. So it goes on elsewhere, and the next ones of its policy begin there: on one thread where the policy
//! is slow by nature, as interpreted ones are, and on another, which only gets what processor time others leave, where
//! it took long and failed at that.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

use super::PolicyFailure;
use super::priority;
use crate::sandbox::SandboxFailure;

/// For so long after a decision that took its time and failed, those of its policy begin where they are in nobody's way.
/// One such decision in this time is nothing that the requests of others show.
const DISTRUST: Duration = Duration::from_secs(2);

/// Something that is decided, on whatever thread.
pub(super) type Work<T> = Pin<Box<dyn Future<Output = Result<T, PolicyFailure>> + Send>>;

/// How the decisions of a policy went lately.
pub(super) struct Manner {
    since: Instant,
    /// Whether the last one took longer than is free.
    slow: AtomicBool,
    /// Milliseconds since `since` up to which it isn't trusted.
    distrusted: AtomicU64,
}

/// A thread for decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// As important as the requests' own.
    Beside,
    /// After everything else.
    Behind,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { since: Instant::now(), slow: AtomicBool::new(false), distrusted: AtomicU64::new(0) }
    }
}

impl Manner {
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Where the next decision begins; `None`: on its request's thread.
    fn place(&self) -> Option<Place> {
        match self.distrusted.load(Ordering::Relaxed) {
            until if until > 0 && self.now() < until => Some(Place::Behind),
            _ => self.slow.load(Ordering::Relaxed).then_some(Place::Beside),
        }
    }

    fn note(&self, at_once: bool, failed: bool) {
        self.slow.store(!at_once, Ordering::Relaxed);
        if !at_once && failed {
            let until = self.now().saturating_add(DISTRUST.as_millis() as u64);
            self.distrusted.store(until, Ordering::Relaxed);
        }
    }
}

/// Runs `work`, on a thread for slow decisions from where it makes way for the first time, or from its beginning where
/// the policy is known for that. It ends where the future of this function is dropped, and after `limit` on another thread:
/// one that gets no processor time can't tell that its own is over.
pub(super) async fn run<T: Send + 'static>(
    mut work: Work<T>,
    manner: &Manner,
    limit: Duration,
) -> Result<T, PolicyFailure> {
    let (done, at_once) = match manner.place() {
        None => match begin(&mut work).await {
            // The usual case; there is nothing to note.
            Some(done) => return done,
            None => (elsewhere(Place::Beside, work, limit).await, false),
        },
        Some(place) => {
            let whole = async move {
                match begin(&mut work).await {
                    Some(done) => Ok((done, true)),
                    None => Ok((work.await, false)),
                }
            };
            match elsewhere(place, Box::pin(whole), limit).await {
                Ok(done) => done,
                Err(failure) => (Err(failure), false),
            }
        }
    };
    manner.note(at_once, done.is_err());
    done
}

/// What `work` comes to, if it does so without making way.
async fn begin<T>(work: &mut Work<T>) -> Option<Result<T, PolicyFailure>> {
    let begun = poll_fn(|context| {
        Poll::Ready(match work.as_mut().poll(context) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        })
    });
    begun.await
}

async fn elsewhere<T: Send + 'static>(
    place: Place,
    work: Work<T>,
    limit: Duration,
) -> Result<T, PolicyFailure> {
    let Some(thread) = thread(place) else { return work.await };
    let mut rest = Rest(thread.spawn(work));
    match tokio::time::timeout(limit, &mut rest.0).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => {
            let detail = format!("the host failed at it: {error}");
            Err(PolicyFailure { kind: SandboxFailure::Trap, detail })
        }
        Err(_) => {
            let detail = format!("it wasn't done after {} ms", limit.as_millis());
            Err(PolicyFailure { kind: SandboxFailure::Time, detail })
        }
    }
}

/// Work on another thread, which nobody needs any more when this is dropped.
struct Rest<T>(JoinHandle<T>);

impl<T> Drop for Rest<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The thread, started by the first decision that needs it; `None` where it can't be.
fn thread(place: Place) -> Option<&'static Handle> {
    static BESIDE: OnceLock<Option<Handle>> = OnceLock::new();
    static BEHIND: OnceLock<Option<Handle>> = OnceLock::new();
    let (thread, name) = match place {
        Place::Beside => (&BESIDE, "slow decisions"),
        Place::Behind => (&BEHIND, "bad decisions"),
    };
    let start = || {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            if place == Place::Behind {
                priority::behind_everything();
            }
            runtime.block_on(std::future::pending::<()>());
        })?;
        Ok::<_, std::io::Error>(handle)
    };
    thread
        .get_or_init(|| {
            start()
                .inspect_err(|error| tracing::warn!(%error, "slow decisions get no thread of their own"))
                .ok()
        })
        .as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn name() -> Result<Option<String>, PolicyFailure> {
        Ok(std::thread::current().name().map(str::to_owned))
    }

    async fn late() -> Result<Option<String>, PolicyFailure> {
        tokio::task::yield_now().await;
        name().await
    }

    async fn late_failure() -> Result<Option<String>, PolicyFailure> {
        tokio::task::yield_now().await;
        Err(PolicyFailure::output("nothing"))
    }

    #[tokio::test]
    async fn what_is_done_at_once_stays_here_and_what_is_not_goes_elsewhere() {
        let (here, manner) = (name().await, Manner::default());
        assert_eq!(run(Box::pin(name()), &manner, LONG).await, here);
        let slow = run(Box::pin(late()), &manner, LONG).await.unwrap();
        assert_eq!(slow.as_deref(), Some("slow decisions"));
    }

    #[tokio::test]
    async fn after_a_slow_decision_the_next_begins_elsewhere_until_one_is_quick() {
        let (here, manner) = (name().await, Manner::default());
        run(Box::pin(late()), &manner, LONG).await.unwrap();
        assert_eq!(run(Box::pin(name()), &manner, LONG).await.unwrap().as_deref(), Some("slow decisions"));
        assert_eq!(run(Box::pin(name()), &manner, LONG).await, here);
    }

    #[tokio::test]
    async fn after_one_that_took_long_and_failed_they_come_after_everything_else_for_a_while() {
        let (here, manner) = (name().await, Manner::default());
        run(Box::pin(late_failure()), &manner, LONG).await.unwrap_err();
        for _ in 0..3 {
            assert_eq!(run(Box::pin(name()), &manner, LONG).await.unwrap().as_deref(), Some("bad decisions"));
        }
        let other = Manner::default();
        assert_eq!(run(Box::pin(name()), &other, LONG).await, here, "another policy is another matter");
        manner.distrusted.store(1, Ordering::Relaxed);
        let ms = Duration::from_millis(2).saturating_sub(manner.since.elapsed());
        tokio::time::sleep(ms).await;
        assert_eq!(run(Box::pin(name()), &manner, LONG).await, here);
    }

    #[tokio::test]
    async fn what_fails_at_once_stays_here() {
        let (here, manner) = (name().await, Manner::default());
        let failing = run::<()>(Box::pin(async { Err(PolicyFailure::output("nothing")) }), &manner, LONG);
        failing.await.unwrap_err();
        assert_eq!(run(Box::pin(name()), &manner, LONG).await, here);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends() {
        let (ended, mut ends) = tokio::sync::oneshot::channel::<()>();
        let manner = Manner::default();
        let work = run(
            Box::pin(async move {
                let _held = ended;
                std::future::pending::<()>().await;
                Ok(())
            }),
            &manner,
            LONG,
        );
        tokio::select! {
            biased;
            _ = work => panic!("it never ends by itself"),
            () = tokio::task::yield_now() => {}
        }
        assert!((&mut ends).await.is_err());
    }

    #[tokio::test]
    async fn what_gets_nowhere_elsewhere_is_over_after_its_time() {
        let manner = Manner::default();
        let work = run(
            Box::pin(async {
                tokio::task::yield_now().await;
                std::future::pending::<Result<(), PolicyFailure>>().await
            }),
            &manner,
            Duration::from_millis(5),
        );
        assert_eq!(work.await.unwrap_err().kind, SandboxFailure::Time);
    }
}
