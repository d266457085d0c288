//! A request in service: goes on when its client doesn't, and a panic in it is its own.

use super::connections::Activity;
use super::response::{Response, response};
use crate::panics::{Panicked, caught};
use crate::proxy::Answer;
use http::header::{CONNECTION, HeaderValue};
use std::convert::Infallible;
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
        let work = async move { caught(work).await.unwrap_or_else(|Panicked| Answer::of_panic()) };
        Answering { work: Some(Box::pin(work)), activity }
    }

    fn poll_work(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_work(context).map(|answer| {
            let mut response = response(answer);
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
