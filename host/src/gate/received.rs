//! The body of a request, on its way.

use bytes::BytesMut;
use holdfast_gate::{Refusal, refusals};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;

/// A body. Over HTTP/2 the rest of one that nobody reads to its end is read and thrown away, within bounds: dropped at once,
/// it would reset the stream, and some clients (curl 7.88) then lose the refusal that was sent before.
pub struct ReceivedBody {
    body: Option<Incoming>,
    /// Over HTTP/1 hyper itself reads the rest, or closes the connection.
    drains: bool,
    limit: usize,
}

/// What a client may take to send the rest of a body that is refused already.
const DRAIN_TIME: Duration = Duration::from_secs(1);

impl ReceivedBody {
    /// Of a request of this version; `limit` is the longest body that is taken, in bytes.
    pub fn new(body: Incoming, version: http::Version, limit: usize) -> ReceivedBody {
        ReceivedBody { body: Some(body), drains: version == http::Version::HTTP_2, limit }
    }

    /// All of it, refused before it is read when its length says that it is too long.
    pub async fn whole(mut self) -> Result<BytesMut, Refusal> {
        let announced = self.size_hint().lower();
        if announced > self.limit as u64 {
            return Err(refusals::body_too_long(self.limit));
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|_| refusals::body_broken())?;
            // Trailers are no part of what is signed, and nobody asks for them.
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > self.limit {
                return Err(refusals::body_too_long(self.limit));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }
}

impl Body for ReceivedBody {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for ReceivedBody {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| self.drains && !body.is_end_stream());
        // Outside of a runtime nothing is received any more.
        if let (Some(body), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(DRAIN_TIME, drain(body, self.limit)));
        }
    }
}

async fn drain(mut body: Incoming, limit: usize) {
    let mut left = limit;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}
