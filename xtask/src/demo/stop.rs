//! An orderly stop: a client keeps the server busy, and every request that was accepted is answered.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::call::Caller;
use crate::error::{Error, Result, file};
use crate::report::good;
use crate::server::Server;

/// Whose requests are under way when the server is told to stop.
const BUSY: &str = "arn:aws:iam::123456789012:role/Busy";
const BUSY_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(1);

/// Stops the server while requests arrive, and compares the answers that came with the records that were written.
pub fn show(server: Server, caller: &Caller, folder: &Path) -> Result<()> {
    let records = folder.join("audit.jsonl");
    let answers = folder.join("busy.jsonl");
    let said_before = server.log().lines().count();
    let log = server.log_path().to_owned();
    let mut client = Client(start_client(caller, &answers)?);
    wait_until("a client's first records", || Ok(count(&records, BUSY)? >= 20 || client.has_ended()?))?;

    let (status, took) = server.stop()?;
    let said = std::fs::read_to_string(&log).map_err(file("can't read", &log))?;
    said.lines().skip(said_before).for_each(|line| println!("   {line}"));
    if !status.success() {
        return Err(Error::Unexpected(format!("the server ended with {status}")));
    }
    println!("   ended with {status} after {} ms", took.as_millis());

    wait_until("the end of the client", || client.has_ended())?;
    let (answered, recorded) = (count(&answers, "ciphertext")?, count(&records, BUSY)?);
    if answered != recorded {
        let what =
            format!("{recorded} requests were accepted while the server stopped, {answered} were answered");
        return Err(Error::Unexpected(what));
    }
    println!(
        "   {} a client was at work; its {recorded} accepted requests were all answered",
        good("drained:")
    );
    Ok(())
}

fn start_client(caller: &Caller, answers: &Path) -> Result<Child> {
    let out = std::fs::File::create(answers).map_err(file("can't create", answers))?;
    let mut command = caller.command(&["encrypt", "--key", "demo", "--plaintext", "x", "--json"]);
    command.args(["--principal", BUSY, "--repeat", "1000000"]);
    command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
    command.spawn().map_err(|source| Error::Start { command: "holdfast call encrypt".into(), source })
}

/// Ended at the latest with this value.
struct Client(Child);

impl Client {
    fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait().map_err(file("can't wait for", "holdfast call"))?.is_some())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Only after an error is it still there.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many lines of a file have this text.
fn count(path: &Path, text: &str) -> Result<usize> {
    let content = std::fs::read_to_string(path).map_err(file("can't read", path))?;
    Ok(content.lines().filter(|line| line.contains(text)).count())
}

fn wait_until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !condition()? {
        if started.elapsed() > BUSY_LIMIT {
            return Err(Error::TimedOut { command: what.into(), seconds: BUSY_LIMIT.as_secs() });
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}
