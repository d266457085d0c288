//! Gives hyper's own error answers a body (checklist T8).
//!
//! hyper answers a head that it can't parse by itself, with a bare `400`, `414` or `431` and no body, before any of our
//! code sees the request. Such an answer is the last thing that it writes on the connection, and ours always end with a
//! JSON object; so a write that ends with an empty error head is hyper's, and gets the JSON body of the specification.

use super::connections::Activity;
use holdfast_gate::{ErrorName, Refusal};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct BareErrors<S> {
    stream: S,
    activity: Arc<Activity>,
    /// What goes out in place of a bare head, and how much of it went.
    replacement: Option<(Vec<u8>, usize)>,
}

impl<S> BareErrors<S> {
    pub fn new(stream: S, activity: Arc<Activity>) -> BareErrors<S> {
        BareErrors { stream, activity, replacement: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BareErrors<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.received();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BareErrors<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replacement.is_none() {
            let Some(whole) = with_body(bytes) else {
                return Pin::new(&mut self.stream).poll_write(cx, bytes);
            };
            self.replacement = Some((whole, 0));
        }
        let this = &mut *self;
        while let Some((whole, done)) = &mut this.replacement {
            if *done == whole.len() {
                this.replacement = None;
                break;
            }
            match Pin::new(&mut this.stream).poll_write(cx, &whole[*done..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => *done += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A bare error is a head alone, so it comes as one part.
        let filled: Vec<&io::IoSlice<'_>> = parts.iter().filter(|part| !part.is_empty()).take(2).collect();
        match filled.as_slice() {
            [only] => self.poll_write(cx, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// `bytes` with a JSON body behind the bare error head that they end with; `None` when they don't.
fn with_body(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let start = bytes.windows(9).rposition(|window| window == b"HTTP/1.1 ")?;
    let head = std::str::from_utf8(&bytes[start..]).ok()?;
    let message = match head.get(9..12)? {
        "400" => "the request is not valid HTTP/1.1",
        "414" => "the request target is too long",
        "431" => "the request's headers are too many or too long",
        _ => return None,
    };
    if !head.contains("\r\ncontent-length: 0\r\n") {
        return None;
    }
    let body = Refusal::new(ErrorName::Validation, message).to_json();
    let head = head.replacen(
        "\r\ncontent-length: 0\r\n",
        &format!("\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len()),
        1,
    );
    Some([&bytes[..start], head.as_bytes(), body.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t8_a_bare_error_gets_a_body_and_nothing_else_changes() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let before = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let whole = String::from_utf8(with_body(format!("{before}{bare}").as_bytes()).unwrap()).unwrap();
        assert!(whole.starts_with(before));
        let (head, body) = whole[before.len()..].split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("ValidationException"));
        for other in [
            before,
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 90\r\n\r\n",
            "",
        ] {
            assert_eq!(with_body(other.as_bytes()), None, "{other}");
        }
    }
}
