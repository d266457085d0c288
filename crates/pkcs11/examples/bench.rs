//! CPU time an encryption of 32 bytes takes: in a loop, in threads with 16 callers at once, in a worker process likewise.
//! Then an HSM that takes 5 ms, with 64 callers and 32 sessions, in both.
#![allow(clippy::unwrap_used, reason = "a measurement that can't go on has nothing to say")]

use holdfast_pkcs11::module::{GcmKey, Module};
use holdfast_pkcs11::{Fleet, FleetSettings, HsmSettings, Isolation, Iv, Quirks, TokenSelector, worker};
use holdfast_secret::Secret;
use holdfast_test_tokens::{PIN, Token};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 200_000;

/// CPU time of this process and of its children that have ended.
fn cpu() -> Duration {
    let of = |who| {
        // SAFETY: writes one rusage, for which zeros are valid.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &mut usage);
            usage
        };
        let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

/// Worker processes are reaped in the background; their CPU time counts then.
fn wait_for_children() {
    std::thread::sleep(Duration::from_millis(500));
}

fn report(what: &str, rounds: u32, cpu: Duration, time: Duration) {
    let per = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(rounds);
    println!("{what}: {:.1} us CPU an encrypt, {:.0}/s", per(cpu), f64::from(rounds) / time.as_secs_f64());
}

fn direct(path: &Path) {
    let module = Module::load(path, true).unwrap();
    let slots = module.slots().unwrap();
    let slot = slots.into_iter().find(|slot| module.token_info(*slot).unwrap().label == "bench").unwrap();
    let session = module.open_session(slot, false).unwrap();
    let _ = module.login(session, &Secret::copy_from(PIN.as_bytes()));
    let key = module.find_aes_keys(session, Some("k")).unwrap()[0];
    let key = GcmKey { module: &module, session, key, quirks: &Quirks::default() };
    let (start, began) = (cpu(), Instant::now());
    for _ in 0..ROUNDS {
        let mut iv = Iv::random().unwrap();
        key.encrypt(&mut iv, b"aad", &[7; 32]).unwrap();
    }
    report("direct loop", ROUNDS, cpu() - start, began.elapsed());
    module.close_session(session).unwrap();
}

fn fleet(what: &str, callers: u32, rounds: u32, hsm: HsmSettings, folder: &Path) {
    let fleet = Arc::new(Fleet::start(FleetSettings::new(vec![hsm], folder)).unwrap());
    assert!(fleet.wait_until(Duration::from_secs(20), |fleet| fleet.can_serve()), "{:?}", fleet.health());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let (start, began) = (cpu(), Instant::now());
    runtime.block_on(async {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                let fleet = Arc::clone(&fleet);
                tokio::spawn(async move {
                    let mut slowest = Duration::ZERO;
                    for _ in 0..rounds / callers {
                        let deadline = Instant::now() + Duration::from_secs(5);
                        let asked = Instant::now();
                        fleet
                            .encrypt("k", &[7; 32], |metadata| frame(b"aad", metadata), false, deadline)
                            .await
                            .unwrap();
                        slowest = slowest.max(asked.elapsed());
                    }
                    slowest
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        for caller in callers {
            slowest = slowest.max(caller.await.unwrap());
        }
        println!("{what}: the slowest took {slowest:?}");
    });
    let time = began.elapsed();
    drop(runtime);
    drop(Arc::into_inner(fleet));
    wait_for_children();
    report(what, rounds, cpu() - start, time);
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("hsm-worker") {
        return worker::run().unwrap();
    }
    let Some(token) = Token::softhsm2("bench") else { return };
    token.create_key("k");
    for (name, value) in token.environment() {
        // SAFETY: this process has no other thread yet.
        unsafe { std::env::set_var(name, value) };
    }
    direct(token.module());
    let pin = Arc::new(|| Ok(Secret::copy_from(PIN.as_bytes())));
    let hsm = HsmSettings {
        isolation: Isolation::Threads { replaced_at_most: 2 },
        sessions: 16,
        create_test_key: true,
        ..HsmSettings::new("bench", token.module(), TokenSelector::Label("bench".into()), pin)
    };
    fleet("threads, 16 callers", 16, ROUNDS, hsm.clone(), &token.folder().join("a"));
    let hsm = HsmSettings { isolation: Isolation::Process, ..hsm };
    fleet("worker process, 16 callers", 16, ROUNDS, hsm.clone(), &token.folder().join("b"));
    for (what, isolation) in
        [("threads", Isolation::Threads { replaced_at_most: 2 }), ("worker process", Isolation::Process)]
    {
        let faults = token.faults();
        let _ = faults.delay("C_Encrypt", Duration::from_millis(5));
        let hsm = HsmSettings { isolation, sessions: 32, module: faults.module().to_owned(), ..hsm.clone() };
        fleet(&format!("5 ms, {what}, 64 callers"), 64, 20_000, hsm, &token.folder().join("c"));
    }
}

/// The specification's framing, without metadata's or AAD's limits.
fn frame(aad: &[u8], metadata: &[u8]) -> Vec<u8> {
    [&[0, aad.len() as u8], aad, &[metadata.len() as u8], metadata].concat()
}
