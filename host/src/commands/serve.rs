//! `holdfast serve`: answers requests until it is told to stop.

use super::harden::{self, has_pagemap_scan};
use super::{CommandError, Output};
use crate::admin::AdminSocket;
use crate::commands::ConfigFile;
use crate::config::{Config, Transport};
use crate::log::{self, Lines, LogFormat, Quota};
use crate::metrics;
use crate::runtime::{self, Runtime};
use crate::server::Server;
use crate::server::tls::ServedCertificate;
use clap::Args;
use holdfast_policy::life::keep_rolling_back;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// `holdfast serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints one line on the standard output once it listens: `listening on https://127.0.0.1:8443`.
SIGTERM or SIGINT: takes no more connections, answers every accepted request, then ends with exit code 0.
SIGHUP: looks at keystore, certificate, audit log and HSMs at once. The configuration itself is read at the start only.
Keys and credentials that are changed by `holdfast key` and `holdfast credential` are taken up while it runs.
RUST_LOG sets what is logged on the standard error [default: info].

Example:
  holdfast serve --config demo/holdfast.toml")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The form of log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
    /// Threads that answer requests [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// For how long an end waits for log lines to be written.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs the command.
pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let (quota, lines) = log::start(arguments.log)?;
    let result = run_logged(arguments, &quota, &lines, output);
    lines.flush(LAST_WORDS);
    result
}

fn run_logged(
    arguments: &Arguments,
    quota: &Quota,
    lines: &Lines,
    output: &mut Output,
) -> Result<(), CommandError> {
    let config = Arc::new(Config::load(&arguments.config.path())?);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if !has_pagemap_scan() {
        tracing::warn!(
            "no PAGEMAP_SCAN (Linux 6.7 or later has it): each request costs more, as memories are cleared whole"
        );
    }
    harden::process()?;
    raise_open_files(config.server.limits.connections);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Two at least: one that hangs in the system must not hold up all.
    let threads =
        arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let runtime = builder.worker_threads(threads.max(2)).enable_all().build()?;
    let result = runtime.block_on(serve(&config, (quota, lines), output));
    // What is still blocked in the system (a sink that hangs) doesn't keep the process.
    runtime.shutdown_background();
    result
}

async fn serve(
    config: &Arc<Config>,
    (quota, lines): (&Quota, &Lines),
    output: &mut Output,
) -> Result<(), CommandError> {
    // Before anything else, so that no signal kills a half-started host silently.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let start = std::time::SystemTime::now();
    // On a thread that may wait, as files may be FIFOs or on a disk that hangs: a start can be stopped at any moment.
    let starting = tokio::task::spawn_blocking({
        let (config, handle) = (config.clone(), tokio::runtime::Handle::current());
        move || handle.block_on(assemble(&config))
    });
    let (assembled, tls) = tokio::select! {
        started = starting => started.map_err(|_| "the start panicked, see above")??,
        _ = terminate.recv() => return stopped_early("SIGTERM"),
        _ = interrupt.recv() => return stopped_early("SIGINT"),
    };
    give_memory_back();
    warn_of_unlocked_secrets();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let exchange = assembled.exchange.clone();
    let server =
        Server::bind(config.server.listen, tls.clone(), config.server.limits.clone(), exchange.clone()).await;
    let server = server.map_err(|error| format!("can't listen on {}: {error}", config.server.listen))?;
    let (stop, stopped) = watch::channel(false);
    if let Some(address) = config.metrics {
        let listening = metrics::listen(address, exchange.clone()).await;
        listening.map_err(|error| format!("can't listen on {address} for metrics: {error}"))?;
    }
    // Kept until the end: its file goes with it.
    let _admin = match &config.admin {
        Some(admin) => Some(AdminSocket::open(&admin.socket, assembled.policies.clone()).await?),
        None => None,
    };
    // What was found wrong at the start is read before that it listens.
    lines.flush(LAST_WORDS);
    output.line(format_args!("listening on {scheme}://{}", server.address()?))?;
    output.flush()?;
    tokio::spawn(quota.clone().keep());
    let loaded = assembled.policies.files_in_use();
    tokio::spawn(holdfast_sandbox::keep_pruning(config.components.cache.clone(), start, loaded));
    tokio::spawn(runtime::keep_checking(exchange.clone()));
    tokio::spawn(runtime::keep_tallying(exchange.clone()));
    tokio::spawn(runtime::keep_telling(exchange.clone()));
    let Runtime { exchange: _, vault, policies, failing } = assembled;
    tokio::spawn(keep_rolling_back(policies, failing));
    tokio::spawn(runtime::keep_reloading(exchange.clone(), vault));
    if let Some(tls) = tls {
        tokio::spawn(tls.keep_renewing());
    }
    let serving = tokio::spawn(server.run(stopped));
    let signal = loop {
        tokio::select! {
            _ = hangup.recv() => runtime::look_again(&exchange),
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
        }
    };
    let _ = stop.send(true);
    tracing::info!("{signal}: answering what was accepted, then ending");
    tokio::select! {
        served = serving => served?,
        _ = terminate.recv() => tracing::warn!("a second signal: ending at once"),
        _ = interrupt.recv() => tracing::warn!("a second signal: ending at once"),
    }
    runtime::finish(&exchange).await;
    quota.tell();
    tracing::info!("stopped");
    Ok(())
}

/// Everything that is read before it serves.
async fn assemble(config: &Config) -> Result<(Runtime, Option<Arc<ServedCertificate>>), CommandError> {
    let assembled = Runtime::assemble(config).await?;
    let tls = match &config.server.transport {
        Transport::Tls(files) => Some(ServedCertificate::read(files)?),
        Transport::PlainHttp => None,
    };
    Ok((assembled, tls))
}

fn stopped_early(signal: &str) -> Result<(), CommandError> {
    tracing::warn!(signal, "told to stop before it served; ending");
    Ok(())
}

/// Compiling a policy takes some 200 MiB for a moment, which the allocator would keep.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions; it only releases what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn warn_of_unlocked_secrets() {
    let status = holdfast_secret::locking_status();
    if !status.is_complete() {
        tracing::warn!(
            "not all secrets are locked in memory: raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=64M), or swap could hold keys"
        );
    }
}

/// A connection is an open file; the soft limit is often 1,024 where the hard one is far higher.
fn raise_open_files(connections: usize) {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(256);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a valid rlimit that outlives them.
    let failed = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0
            || (limit.rlim_cur < wanted && {
                limit.rlim_cur = wanted.min(limit.rlim_max);
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0
            })
    };
    if failed || limit.rlim_cur < wanted {
        tracing::warn!(
            connections,
            open_files = limit.rlim_cur,
            "fewer files may be open than connections are allowed; raise LimitNOFILE"
        );
    }
}
