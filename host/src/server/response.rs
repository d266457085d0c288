//! An answer as HTTP has it.

use crate::proxy::Answer;
use bytes::Bytes;
use http::StatusCode;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http_body_util::Full;

/// With its whole body.
pub type Response = http::Response<Full<Bytes>>;

/// JSON, as every answer is.
pub fn response(answer: Answer) -> Response {
    let mut response = http::Response::new(Full::new(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if answer.status == 405 {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}
