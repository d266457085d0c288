//! What was measured.

use std::fmt;

use serde::Serialize;

use super::plan::{Mix, Pace};

/// What latencies and outcomes are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A rightly signed GetHealthStatus.
    Health,
    /// A rightly signed GetKeyMetadata.
    Metadata,
    /// A rightly signed Encrypt.
    Encrypt,
    /// A rightly signed Decrypt.
    Decrypt,
    /// Any operation with a made-up signature.
    Forged,
    /// Any operation without `authorization`.
    Unsigned,
}

impl Kind {
    /// Whether a server has to let it through.
    pub fn is_signed(self) -> bool {
        !matches!(self, Self::Forged | Self::Unsigned)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Health => "health",
            Self::Metadata => "metadata",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Forged => "forged",
            Self::Unsigned => "unsigned",
        })
    }
}

/// The result of a run. Times are in microseconds unless their names say otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was asked for.
    pub plan: PlanSummary,
    /// From the first request until the last answer.
    pub elapsed_seconds: f64,
    /// Requests that ended, in whatever way.
    pub requests: u64,
    /// `requests` by `elapsed_seconds`.
    pub requests_per_second: f64,
    /// Due at a fixed rate, but not sent before the run ended: the server is too slow for the rate.
    pub unsent: u64,
    /// Connections that were opened after the first ones.
    pub reconnects: u64,
    /// How the requests ended.
    pub outcomes: Vec<OutcomeCount>,
    /// Wrong 200s and let-through forgeries; must be 0.
    pub wrong: u64,
    /// The first few of them.
    pub wrong_examples: Vec<String>,
    /// By kind.
    pub latency: Vec<Latency>,
    /// The generator itself.
    pub generator: GeneratorCost,
    /// Given the server's process id.
    pub server: Option<ServerCost>,
}

/// The part of a plan that explains the figures.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of Plan")]
pub struct PlanSummary {
    pub url: String,
    pub connections: usize,
    pub threads: usize,
    pub pace: Pace,
    pub mix: Mix,
    pub payload_bytes: usize,
    pub aad_bytes: usize,
    pub cdiv: bool,
    pub principals: usize,
    pub forged: f64,
    pub unsigned: f64,
}

/// So many requests of a kind ended so.
#[derive(Debug, Clone, Serialize)]
pub struct OutcomeCount {
    /// Which kind.
    pub kind: Kind,
    /// The status; absent where no answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The errorName of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_name: Option<String>,
    /// Why no answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<String>,
    /// How many.
    pub count: u64,
}

/// Latencies of a kind; of refusals and timeouts, too.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub kind: Kind,
    pub count: u64,
    pub min_us: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    /// More than KMS waits.
    pub over_250_ms: u64,
}

/// What the generator used during the run.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct GeneratorCost {
    pub cpu_seconds: f64,
    pub cpu_us_per_request: f64,
}

/// What the server used during the run; to the clock tick, 10 ms as a rule.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ServerCost {
    pub pid: u32,
    pub cpu_seconds: f64,
    pub cpu_us_per_request: f64,
    pub user_us_per_request: f64,
    pub system_us_per_request: f64,
    pub resident_kib_before: u64,
    pub resident_kib_after: u64,
}

impl Report {
    /// Rightly signed requests with a right 200.
    pub fn succeeded(&self) -> u64 {
        let right = |outcome: &&OutcomeCount| outcome.kind.is_signed() && outcome.status == Some(200);
        self.outcomes
            .iter()
            .filter(right)
            .map(|outcome| outcome.count)
            .sum::<u64>()
            .saturating_sub(self.wrong)
    }

    /// Nothing wrong, nothing unsent, each signed request a 200 and each other a refusal.
    pub fn is_clean(&self) -> bool {
        let as_wanted = |outcome: &OutcomeCount| match outcome.status {
            Some(200) => outcome.kind.is_signed(),
            Some(_) => !outcome.kind.is_signed(),
            None => false,
        };
        self.wrong == 0 && self.unsent == 0 && self.outcomes.iter().all(as_wanted)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests in {:.2} s, {:.0} a second, over {} connections to {}",
            self.requests,
            self.elapsed_seconds,
            self.requests_per_second,
            self.plan.connections,
            self.plan.url
        )?;
        writeln!(
            f,
            "\n{:<9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "ms", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for row in &self.latency {
            write!(f, "{:<9} {:>9}", row.kind, row.count)?;
            for us in [row.min_us, row.mean_us, row.p50_us, row.p90_us, row.p99_us, row.p999_us, row.max_us] {
                write!(f, " {:>9.3}", us / 1_000.0)?;
            }
            if row.over_250_ms > 0 {
                write!(f, "  {} over 250 ms", row.over_250_ms)?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for outcome in &self.outcomes {
            let status = outcome.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
            let why = outcome.error_name.as_deref().or(outcome.unanswered.as_deref()).unwrap_or_default();
            writeln!(f, "{:<9} {:>9}  {status} {why}", outcome.kind, outcome.count)?;
        }
        if self.unsent > 0 {
            writeln!(f, "unsent    {:>9}  the server is too slow for the rate", self.unsent)?;
        }
        if self.reconnects > 0 {
            writeln!(f, "{} connections were opened again", self.reconnects)?;
        }
        if self.wrong > 0 {
            writeln!(f, "WRONG: {} answers", self.wrong)?;
            self.wrong_examples.iter().try_for_each(|example| writeln!(f, "  {example}"))?;
        }
        if let Some(server) = self.server {
            writeln!(
                f,
                "server    {:.1} us CPU a request ({:.1} user, {:.1} system); {} KiB resident, {} before",
                server.cpu_us_per_request,
                server.user_us_per_request,
                server.system_us_per_request,
                server.resident_kib_after,
                server.resident_kib_before
            )?;
        }
        write!(f, "generator {:.1} us CPU a request", self.generator.cpu_us_per_request)
    }
}
