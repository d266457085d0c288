//! Clients that go on asking while something happens.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdfast_tests::{Client, Host, Operation, encrypt_body, wait_for};

/// Runs `event` while two clients encrypt again and again with the key `demo`; every request must succeed. How many there were.
#[track_caller]
pub fn undisturbed(host: &Host, event: impl FnOnce()) -> usize {
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = |mut client: Client| {
        while !stop.load(Ordering::Relaxed) {
            client.call(Operation::Encrypt, "demo", encrypt_body("meanwhile")).ok();
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let clients = [host.client(), host.client()];
        let asking = clients.map(|client| scope.spawn(|| ask(client)));
        let more = |count: usize| {
            let enough = served.load(Ordering::Relaxed) + count;
            wait_for("requests before and after it", || {
                let over = asking.iter().any(std::thread::ScopedJoinHandle::is_finished);
                (over || served.load(Ordering::Relaxed) >= enough).then_some(())
            });
        };
        more(10);
        // So that a panic in it doesn't leave the clients asking for ever.
        let event = std::panic::catch_unwind(std::panic::AssertUnwindSafe(event));
        more(10);
        stop.store(true, Ordering::Relaxed);
        for client in asking {
            client.join().unwrap();
        }
        event.unwrap();
    });
    served.into_inner()
}
