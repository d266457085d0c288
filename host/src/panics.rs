//! Panics on the way of a request: each is that request's failure, and no other's (checklist T8).

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// A future panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// What `work` gives, or that it panicked. It is not polled again then; what it has borrowed may be half done.
pub async fn caught<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_what_was_borrowed_is_there() {
        let mut steps = Vec::new();
        let work = async {
            steps.push(1);
            tokio::task::yield_now().await;
            panic!("a defect");
        };
        assert_eq!(caught(work).await, Err::<(), _>(Panicked));
        assert_eq!(steps, [1]);
        assert_eq!(caught(async { 2 }).await, Ok(2));
    }
}
