//! Does what the socket asks for.

use super::frame;
use super::protocol::{Command, Outcome, REQUEST_LIMIT, Reply, Request, VERSION};
use holdfast_policy::artefact::ARTEFACT_LIMIT;
use holdfast_policy::life::{LifeError, Lifecycle};
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// For a request, and for each piece of an artefact.
const READ_TIME: Duration = Duration::from_secs(30);
/// Bytes read at a time.
const PIECE: usize = 256 * 1024;

/// Answers one connection's requests.
pub async fn serve(mut stream: UnixStream, lifecycle: &Lifecycle, by: &str) -> io::Result<()> {
    while let Some(request) =
        timeout(READ_TIME, frame::read::<serde_json::Value>(&mut stream, REQUEST_LIMIT)).await??
    {
        let version = request.get("protocol").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            let why =
                format!("this host speaks version {VERSION} of the admin protocol; use the same holdfast");
            frame::write(&mut stream, &Reply::Refused(why)).await?;
            continue;
        }
        let request: Request = match serde_json::from_value(request) {
            Ok(request) => request,
            Err(error) => {
                frame::write(&mut stream, &Reply::Refused(format!("not understood: {error}"))).await?;
                continue;
            }
        };
        answer(&mut stream, lifecycle, by, request.command).await?;
    }
    Ok(())
}

async fn answer(
    stream: &mut UnixStream,
    lifecycle: &Lifecycle,
    by: &str,
    command: Command,
) -> io::Result<()> {
    let outcome = match command {
        Command::Stage { bytes, signature } => {
            return stage(stream, lifecycle, by, bytes, signature).await;
        }
        Command::Activate { artefact, of } => {
            lifecycle.activate(&artefact, &of, by).await.map(Outcome::Activated)
        }
        Command::Rollback { to, of } => lifecycle.roll_back(to, &of, by).await.map(Outcome::Activated),
        Command::Shadow { artefact, of } => {
            lifecycle.shadow(artefact.as_deref(), &of).await.map(Outcome::Shadowed)
        }
        Command::Status => Ok(Outcome::Status(lifecycle.standing().await)),
        Command::History { of } => lifecycle.history(&of).await.map(Outcome::History),
    };
    reply(stream, outcome, by).await
}

async fn reply(stream: &mut UnixStream, outcome: Result<Outcome, LifeError>, by: &str) -> io::Result<()> {
    let reply = match outcome {
        Ok(outcome) => Reply::Done(outcome),
        Err(error) => {
            tracing::warn!(%error, by, "a change of policy is refused");
            Reply::Refused(error.to_string())
        }
    };
    frame::write(stream, &reply).await
}

async fn stage(
    stream: &mut UnixStream,
    lifecycle: &Lifecycle,
    by: &str,
    length: u64,
    signature: Option<String>,
) -> io::Result<()> {
    if length > ARTEFACT_LIMIT as u64 {
        let why = format!("a policy has at most {ARTEFACT_LIMIT} bytes");
        frame::write(stream, &Reply::Refused(why)).await?;
        return Err(io::Error::other("an artefact that is too long"));
    }
    let mut incoming = match lifecycle.receive().await {
        Ok(incoming) => incoming,
        Err(error) => {
            frame::write(stream, &Reply::Refused(error.to_string())).await?;
            return Err(io::Error::other(error));
        }
    };
    let (mut left, mut piece) = (length, vec![0; PIECE]);
    while left > 0 {
        let most = piece.len().min(usize::try_from(left).unwrap_or(PIECE));
        let read = timeout(READ_TIME, stream.read(&mut piece[..most])).await??;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tokio::task::block_in_place(|| incoming.write(&piece[..read])).map_err(io::Error::other)?;
        left -= read as u64;
    }
    drop(piece);
    // A client that goes away takes its checks with it.
    let (told, mut tells) = mpsc::unbounded_channel();
    let tell = move |text: &str| {
        let _ = told.send(text.to_owned());
    };
    let staging = async move { lifecycle.stage(incoming, signature.as_deref(), by, &tell).await };
    tokio::pin!(staging);
    loop {
        tokio::select! {
            biased;
            Some(text) = tells.recv() => frame::write(stream, &Reply::Progress(text)).await?,
            staged = &mut staging => return reply(stream, staged.map(|report| Outcome::Staged(Box::new(report))), by).await,
        }
    }
}
