//! Where decisions go on that aren't done at once: a thread of their own, so that those of requests stay free.
//!
//! A decision begins on its request's thread, where an honest one ends within its first tick. What runs longer than
//! that, because it loops or takes memory or because an interpreter runs it, would hold up all requests that this thread
//! has to look after.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::Poll;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

use super::PolicyFailure;
use crate::sandbox::SandboxFailure;

/// Something that is decided, on whatever thread.
pub(super) type Work<T> = Pin<Box<dyn Future<Output = Result<T, PolicyFailure>> + Send>>;

/// Runs `work` here until it makes way for the first time, and then on the thread for slow decisions. It ends where the
/// future of this function is dropped.
pub(super) async fn run<T: Send + 'static>(mut work: Work<T>) -> Result<T, PolicyFailure> {
    let begun = poll_fn(|context| {
        Poll::Ready(match work.as_mut().poll(context) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        })
    });
    if let Some(done) = begun.await {
        return done;
    }
    let Some(thread) = thread() else { return work.await };
    let mut rest = Rest(thread.spawn(work));
    (&mut rest.0).await.unwrap_or_else(|error| {
        Err(PolicyFailure { kind: SandboxFailure::Trap, detail: format!("the host failed at it: {error}") })
    })
}

/// Work on the other thread, which nobody needs any more when this is dropped.
struct Rest<T>(JoinHandle<T>);

impl<T> Drop for Rest<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The thread, started by the first slow decision; `None` where it can't be.
fn thread() -> Option<&'static Handle> {
    static THREAD: OnceLock<Option<Handle>> = OnceLock::new();
    let start = || {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("slow decisions".into())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok::<_, std::io::Error>(handle)
    };
    THREAD
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

    fn name() -> Option<String> {
        std::thread::current().name().map(str::to_owned)
    }

    #[tokio::test]
    async fn what_is_done_at_once_stays_here_and_what_is_not_goes_elsewhere() {
        let here = name();
        assert_eq!(run(Box::pin(async { Ok(name()) })).await.unwrap(), here);
        let slow = run(Box::pin(async {
            tokio::task::yield_now().await;
            Ok(name())
        }));
        assert_eq!(slow.await.unwrap().as_deref(), Some("slow decisions"));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends() {
        let (ended, mut ends) = tokio::sync::oneshot::channel::<()>();
        let work = run(Box::pin(async move {
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
