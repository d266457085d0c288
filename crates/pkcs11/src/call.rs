//! An operation under way: begun by a caller, done by a worker, ended once by whoever comes first.

use crate::fault::Fault;
use crate::request::{Answer, Work};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

pub(crate) struct Call {
    pub(crate) work: Work,
    /// When the caller is told that time is over, wherever the operation is then.
    pub(crate) deadline: Instant,
    progress: Mutex<Progress>,
}

enum Progress {
    Waiting(Option<Waker>),
    Done(Result<Answer, Fault>),
    /// The caller has gone, or has its result.
    Gone,
}

impl Call {
    pub(crate) fn new(work: Work, deadline: Instant) -> Arc<Call> {
        Arc::new(Call { work, deadline, progress: Mutex::new(Progress::Waiting(None)) })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody still waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        matches!(*self.progress(), Progress::Waiting(_))
    }

    /// Ends it, if it hasn't ended, and says whether this was the end.
    pub(crate) fn finish(&self, result: Result<Answer, Fault>) -> bool {
        let mut progress = self.progress();
        if !matches!(*progress, Progress::Waiting(_)) {
            return false;
        }
        let before = std::mem::replace(&mut *progress, Progress::Done(result));
        drop(progress);
        if let Progress::Waiting(Some(waker)) = before {
            waker.wake();
        }
        true
    }
}

/// A caller's side of a [`Call`]. When it is dropped, work that hasn't begun isn't done.
pub(crate) struct Pending(pub(crate) Arc<Call>);

impl Future for Pending {
    type Output = Result<Answer, Fault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut progress = self.0.progress();
        match &mut *progress {
            Progress::Waiting(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
            Progress::Done(_) | Progress::Gone => match std::mem::replace(&mut *progress, Progress::Gone) {
                Progress::Done(result) => Poll::Ready(result),
                _ => Poll::Ready(Err(Fault::Lost("the result was taken already".into()))),
            },
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        *self.0.progress() = Progress::Gone;
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
pub fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Iv, Operation};
    use std::time::Duration;
    use zeroize::Zeroizing;

    fn call() -> Arc<Call> {
        let work = Work {
            operation: Operation::Encrypt,
            label: "k".into(),
            check_value: [].into(),
            iv: Iv::zero(12),
            aad: [].into(),
            data: Arc::new(Zeroizing::new(Vec::new())),
        };
        Call::new(work, Instant::now() + Duration::from_secs(1))
    }

    #[test]
    fn the_first_end_counts() {
        let call = call();
        let pending = Pending(Arc::clone(&call));
        assert!(call.finish(Err(Fault::Timeout)));
        assert!(!call.finish(Err(Fault::Busy)));
        assert_eq!(wait(pending).err(), Some(Fault::Timeout));
    }

    #[test]
    fn work_whose_caller_has_gone_is_not_wanted() {
        let call = call();
        let pending = Pending(Arc::clone(&call));
        assert!(call.is_wanted());
        drop(pending);
        assert!(!call.is_wanted());
        assert!(!call.finish(Err(Fault::Timeout)));
    }

    #[test]
    fn a_waiting_thread_is_woken() {
        let call = call();
        let pending = Pending(Arc::clone(&call));
        let other = std::thread::spawn(move || call.finish(Err(Fault::Busy)));
        assert_eq!(wait(pending).err(), Some(Fault::Busy));
        assert!(other.join().unwrap());
    }
}
