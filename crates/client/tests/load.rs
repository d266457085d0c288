//! The load generator against a real server, and against servers that misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod xks_server;

use std::net::SocketAddr;
use std::time::Duration;

use holdfast_client::load::{Kind, LoadError, Mix, Pace, Plan, PlanError, Report, run};
use holdfast_client::{Credential, Endpoint, Trust};
use xks_server::{ACCESS_KEY_ID, Fault, SECRET, URI_PATH, serve, serve_tls};

fn plan(url: &str) -> Plan {
    Plan {
        endpoint: Endpoint::parse(url, Some(URI_PATH)).unwrap(),
        trust: Trust::AnyOnLoopback,
        credential: Credential::new(ACCESS_KEY_ID, SECRET.to_owned().into()).unwrap(),
        region: "eu-central-1".into(),
        key: "demo".into(),
        connections: 4,
        threads: 1,
        pace: Pace::Closed,
        duration: Duration::from_secs(60),
        count: Some(400),
        mix: "health=1,metadata=1,encrypt=1,decrypt=1".parse().unwrap(),
        payload_bytes: 32,
        aad_bytes: 24,
        cdiv: true,
        principal: "arn:aws:iam::123456789012:role/bench-{}".into(),
        principals: 3,
        via_service: Some("ebs".into()),
        forged: 0.0,
        unsigned: 0.0,
        pid: None,
        any_host: false,
    }
}

async fn load(plan: Plan) -> Result<Report, LoadError> {
    tokio::task::spawn_blocking(|| run(plan, |_| {})).await.unwrap()
}

async fn at(address: SocketAddr, change: impl FnOnce(&mut Plan)) -> Report {
    let mut plan = plan(&format!("http://{address}"));
    change(&mut plan);
    load(plan).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_mix_is_counted_timed_and_right() {
    let address = serve(Fault::None).await;
    let report = at(address, |plan| plan.pid = Some(std::process::id())).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.requests, report.succeeded(), report.reconnects), (400, 400, 0));
    let kinds: Vec<Kind> = report.latency.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [Kind::Health, Kind::Metadata, Kind::Encrypt, Kind::Decrypt]);
    assert_eq!(report.latency.iter().map(|row| row.count).sum::<u64>(), 400);
    assert!(report.generator.cpu_us_per_request > 0.0);
    assert!(report.server.unwrap().resident_kib_after > 0);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["outcomes"][0]["status"], 200, "{json}");
    assert!(!format!("{json}{report}").contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_share_the_count_and_tls_works() {
    let (address, _) = serve_tls(Fault::None).await;
    let mut plan = plan(&format!("https://localhost:{}", address.port()));
    plan.threads = 2;
    let report = load(plan).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.requests, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_payloads_pass() {
    let address = serve(Fault::None).await;
    let report = at(address, |plan| {
        (plan.payload_bytes, plan.aad_bytes, plan.count) = (4_300, 8_192, Some(50));
        plan.mix = "encrypt=1,decrypt=1".parse().unwrap();
    })
    .await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_rate_is_kept() {
    let address = serve(Fault::None).await;
    let report = at(address, |plan| {
        (plan.pace, plan.duration, plan.count) = (Pace::Rate(500.0), Duration::from_secs(1), None);
    })
    .await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.requests, 500);
    assert!((0.9..1.5).contains(&report.elapsed_seconds), "{report}");
}

/// A server that takes 20 ms a request, one at a time, gets 200 a second: whoever measured from the sending would see
/// 20 to 80 ms over 4 connections, but the last requests were due long before they were sent.
#[tokio::test(flavor = "multi_thread")]
async fn latency_counts_from_the_due_time() {
    let address = serve(Fault::Slow(20)).await;
    let report = at(address, |plan| {
        (plan.pace, plan.duration, plan.count) = (Pace::Rate(200.0), Duration::from_millis(500), None);
        plan.mix = "health=1".parse().unwrap();
    })
    .await;
    assert_eq!((report.requests, report.unsent), (100, 0), "{report}");
    assert!(report.latency[0].max_us > 1_000_000.0, "{report}");
    assert!(report.latency[0].p50_us > 400_000.0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_unsigned_requests_are_refused_and_told_apart() {
    let address = serve(Fault::None).await;
    let report = at(address, |plan| (plan.forged, plan.unsigned) = (0.3, 0.3)).await;
    assert!(report.is_clean(), "{report}");
    for kind in [Kind::Forged, Kind::Unsigned] {
        let of_kind: Vec<_> = report.outcomes.iter().filter(|outcome| outcome.kind == kind).collect();
        assert_eq!(of_kind.len(), 1, "{report}");
        assert_eq!(of_kind[0].status, Some(401));
        assert_eq!(of_kind[0].error_name.as_deref(), Some("AuthenticationFailedException"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_plaintext_is_found_out() {
    let address = serve(Fault::WrongPlaintext).await;
    let report = at(address, |plan| plan.mix = "encrypt=1,decrypt=1".parse().unwrap()).await;
    assert!(!report.is_clean());
    let decrypts = report.latency.iter().find(|row| row.kind == Kind::Decrypt).unwrap().count;
    assert_eq!(report.wrong, decrypts, "{report}");
    assert!(report.wrong_examples[0].contains("isn't what was encrypted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_closes_is_opened_again() {
    let address = serve(Fault::CloseAfterEach).await;
    let report = at(address, |plan| plan.count = Some(40)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.reconnects, 36, "the first four were open already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_holds_the_run_up_for_five_seconds_only() {
    let address = serve(Fault::Silent).await;
    // Forged only, so that there is no warm-up.
    let report = at(address, |plan| (plan.forged, plan.count) = (1.0, Some(4))).await;
    assert_eq!(report.outcomes[0].unanswered.as_deref(), Some("no answer within 5 s"), "{report}");
    assert_eq!((report.requests, report.latency[0].count), (4, 4));
    assert!((5.0..7.0).contains(&report.elapsed_seconds));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_before_the_run_is_the_error() {
    let address = serve(Fault::None).await;
    let mut plan_of_no_key = plan(&format!("http://{address}"));
    plan_of_no_key.key = "other".into();
    let error = load(plan_of_no_key).await.unwrap_err();
    let LoadError::WarmUp(cause) = error else { panic!("{error}") };
    assert_eq!(cause.to_string(), "404 KeyNotFoundException: no such key");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(load(plan(&format!("http://{free}"))).await.unwrap_err().is_unreachable());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_and_endless_plans_are_refused() {
    let far = load(plan("http://192.0.2.1")).await.unwrap_err();
    assert!(matches!(far, LoadError::Plan(PlanError::NotLoopback { .. })), "{far}");
    let changes: [fn(&mut Plan); 7] = [
        |plan| plan.duration = Duration::from_secs(3_601),
        |plan| plan.connections = 0,
        |plan| plan.threads = 5,
        |plan| plan.pace = Pace::Rate(f64::NAN),
        |plan| plan.mix = Mix { health: 0, metadata: 0, encrypt: 0, decrypt: 0 },
        |plan| plan.payload_bytes = 1 << 20,
        |plan| (plan.forged, plan.unsigned) = (0.7, 0.7),
    ];
    for change in changes {
        let mut plan = plan("http://127.0.0.1:1");
        change(&mut plan);
        assert!(matches!(plan.check(), Err(PlanError::Range { .. })), "{plan:?}");
    }
}
