//! A request in service: goes on when its client doesn't, and a panic in it is its own.

use super::connections::Activity;
use crate::proxy::Answer;
use holdfast_gate::{ErrorName, Refusal};
use http::header::{CONNECTION, HeaderValue};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What makes an answer.
type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The future of an answer; a request always has one.
///
/// It runs as part of its connection's task, which saves a task for each request. Dropped before its end, when the
/// client has gone away, it goes on as a task of its own: an operation that was begun is recorded all the same.
pub struct Answering {
    work: Option<Work>,
    activity: Arc<Activity>,
}

impl Answering {
    /// Of `work`, on a connection with this activity.
    pub fn new(work: impl Future<Output = Answer> + Send + 'static, activity: Arc<Activity>) -> Answering {
        Answering { work: Some(Box::pin(work)), activity }
    }

    /// Polls the work; a panic in it is this request's 500, and no other's (checklist T8).
    fn poll_work(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        // A panicking request's state is dropped and never looked at again.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        // First of all, so that it is never polled again.
        self.work = None;
        Poll::Ready(match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(answer)) => answer,
            Err(_) => {
                tracing::error!("a request panicked the host; it is refused");
                Answer::refusal(&Refusal::new(
                    ErrorName::Internal,
                    "the request could not be processed; see the proxy's log",
                ))
            }
        })
    }
}

impl Future for Answering {
    type Output = Result<super::exchange::Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_work(context).map(|answer| {
            let mut response = super::exchange::response(answer);
            if self.activity.is_closing() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.work.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}
