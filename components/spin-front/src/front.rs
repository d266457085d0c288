//! The component.

use http_body_util::BodyExt;
use spin_sdk::http::{FullBody, HeaderMap, HeaderValue, Request, Response, StatusCode};
use spin_sdk::{http_service, variables, wit_bindgen};

wit_bindgen::generate!({
    inline: "package holdfast:spin-front@0.1.0;
        world front {
            import holdfast:gate/types@0.1.0;
            import holdfast:gate/intake@0.1.0;
            import holdfast:proxy/handler@0.1.0;
        }",
    path: ["../../wit/gate", "../../wit/proxy"],
    world: "holdfast:spin-front/front",
    runtime_path: "::spin_sdk::wit_bindgen::rt",
    generate_all,
});

use holdfast::gate::intake::{self, Answer, BodyFault, Exchange, Expecting, Head, Settings};
use holdfast::proxy::handler;
use spin_sdk::wasip3::cli::stderr;
use spin_sdk::wasip3::wit_stream;
use std::cell::Cell;

thread_local! {
    /// Whether this instance's gate has its settings.
    static CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

#[http_service]
async fn serve(request: Request) -> Response<FullBody<bytes::Bytes>> {
    response(match answer(request).await {
        Ok(answer) | Err(answer) => answer,
    })
}

async fn answer(request: Request) -> Result<Answer, Answer> {
    configure().await?;
    let (parts, mut body) = request.into_parts();
    let method = parts.method.as_str().to_owned();
    let head = Head {
        method: method.clone(),
        path: parts.uri.path_and_query().map_or("", |path| path.as_str()).to_owned(),
        authority: parts.uri.authority().map(|authority| authority.as_str().to_owned()),
        headers: headers(&parts.headers),
    };
    let opened = intake::open(&head)?;
    let body = whole(&mut body, opened.body_limit as usize).await;
    let body = body.as_ref().map(Vec::as_slice);
    let received = Expecting::complete(opened.expecting, body)?;
    let answer = handler::handle(&method, &received.path, received.request);
    let answer = Answer { status: answer.status, body: answer.body };
    let closed = Exchange::close(received.exchange, &answer);
    if let Some(record) = closed.record {
        record_line(record).await?;
    }
    Ok(closed.answer)
}

/// Hands Spin's variables to the gate, once an instance.
async fn configure() -> Result<(), Answer> {
    if CONFIGURED.get() {
        return Ok(());
    }
    let settings = Settings {
        keystore: variable("holdfast_keystore").await?,
        seal_key: variable("holdfast_seal_key").await?,
        key_stores: variable("holdfast_key_stores").await?,
        policy_document: variable("holdfast_policy_document").await?,
    };
    if let Err(problem) = intake::configure(&settings) {
        return Err(unusable(problem).await);
    }
    CONFIGURED.set(true);
    Ok(())
}

async fn variable(name: &str) -> Result<String, Answer> {
    match variables::get(name).await {
        Ok(value) => Ok(value),
        Err(variables::Error::Undefined(_)) => {
            Err(unusable(format!("the variable {name} has no value; holdfast spin-env makes it")).await)
        }
        Err(error) => Err(unusable(format!("the variable {name}: {error}")).await),
    }
}

/// Why nothing can be served, to the client and to the log.
async fn unusable(problem: String) -> Answer {
    let problem: String =
        problem.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
    let message = format!("this proxy's settings are missing or wrong; {problem}");
    let message = message.chars().take(511).collect::<String>();
    // Best effort: the client is told in any case.
    let _ = write_line(format!("holdfast: {message}")).await;
    error(503, "DependencyTimeoutException", &message)
}

fn error(status: u16, name: &str, message: &str) -> Answer {
    Answer { status, body: format!("{{\"errorName\":\"{name}\",\"errorMessage\":\"{message}\"}}") }
}

/// The audit record is written before the answer leaves, or no answer does.
async fn record_line(record: String) -> Result<(), Answer> {
    let unwritten = || {
        let message = "the audit record can't be written, so requests are refused; see Spin's log";
        error(500, "InternalException", message)
    };
    write_line(record).await.map_err(|()| unwritten())
}

async fn write_line(mut line: String) -> Result<(), ()> {
    line.push('\n');
    let (mut writer, reader) = wit_stream::new();
    let written = stderr::write_via_stream(reader);
    let rest = writer.write_all(line.into_bytes()).await;
    drop(writer);
    if rest.is_empty() { written.await.map_err(|_| ()) } else { Err(()) }
}

fn headers(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// All of a body, unless it is longer than `limit`.
async fn whole<B>(body: &mut B, limit: usize) -> Result<Vec<u8>, BodyFault>
where
    B: http_body::Body<Data = bytes::Bytes> + Unpin,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyFault::TooLong);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyFault::Broken)?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(BodyFault::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn response(answer: Answer) -> Response<FullBody<bytes::Bytes>> {
    let length = answer.body.len();
    let mut response = Response::new(FullBody::new(bytes::Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("content-length", HeaderValue::from(length));
    if answer.status == 405 {
        headers.insert("allow", HeaderValue::from_static("POST"));
    }
    response
}
