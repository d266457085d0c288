//! Running other programs.

use std::ffi::OsStr;
use std::io::{PipeReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How often a program with a time limit is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The command as one would type it.
pub fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .map(|part| if part.contains([' ', '"']) { format!("'{part}'") } else { part.into_owned() })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a program whose output goes where ours goes.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|source| Error::Start { command: line(command), source })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { command: line(command), status, output: String::new() })
}

/// Runs a program and returns what it printed, whether it succeeded or not.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().map_err(|source| Error::Start { command: line(command), source })
}

/// Runs a program and returns its standard output; a failure carries its standard error.
pub fn capture(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&bytes(command)?).into_owned())
}

/// The same, of a program that doesn't print text.
pub fn bytes(command: &mut Command) -> Result<Vec<u8>> {
    let done = output(command)?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(Error::Failed {
        command: line(command),
        status: done.status,
        output: format!(":\n{}", said.trim_end()),
    })
}

/// Runs a program silently, at most for `limit`; a failure carries the end of what it said.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let (mut child, mut reader) = spawn_merged(command)?;
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        // What was read until an error is still worth showing.
        let _ = reader.read_to_end(&mut said);
        said
    });
    let started = Instant::now();
    let status = loop {
        let failed = |source| Error::Start { command: line(command), source };
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if started.elapsed() > limit {
            // It may have ended by itself just now; either way it is gone after `wait`.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::TimedOut { command: line(command), seconds: limit.as_secs() });
        }
        std::thread::sleep(POLL);
    };
    if status.success() {
        return Ok(());
    }
    let said = said.join().unwrap_or_default();
    Err(Error::Failed { command: line(command), status, output: last_lines(&said, 8) })
}

/// Starts a program whose output and errors come out of one pipe, in their order.
pub fn spawn_merged(command: &mut Command) -> Result<(Child, PipeReader)> {
    let spawned = std::io::pipe().and_then(|(reader, writer)| {
        command.stdin(Stdio::null()).stderr(writer.try_clone()?).stdout(writer);
        Ok((command.spawn()?, reader))
    });
    // The command holds our writing ends, with which the reader would never come to the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    spawned.map_err(|source| Error::Start { command: line(command), source })
}

fn last_lines(said: &[u8], count: usize) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let start = lines.len().saturating_sub(count);
    lines[start..].iter().fold(String::new(), |text, line| text + "\n    " + line)
}

/// Whether a program of this name is in the `PATH`.
pub fn is_installed(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
