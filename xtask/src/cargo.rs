//! Cargo as a child whose progress is told.

use std::io::Read;
use std::process::Command;

use crate::error::{Error, Result, file};
use crate::{lanes, process};

/// Runs cargo, tells each line of it, and in a lane how far it is. A failure's reasons have been told then.
pub fn run(command: &mut Command) -> Result<()> {
    let Some(lane) = lanes::current() else { return process::run(command) };
    // Its bar on lines of its own, whatever it believes about the terminal; what it wants to say isn't cut.
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "200");
    command.env("CARGO_TERM_COLOR", "never");
    let (mut child, mut reader) = process::spawn_merged(command)?;
    lane.begins(child.id());
    let mut rest = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = reader.read(&mut piece).map_err(file("can't read", "the output of cargo"))?;
        rest.extend(&piece[..length]);
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let line: Vec<u8> = rest.drain(..=end).collect();
            match read(&String::from_utf8_lossy(&line[..end])) {
                Said::Nothing => {}
                Said::At(count, work) => lane.is_at(count, &work),
                Said::Line(line) => lane.say(line),
            }
        }
        if length == 0 {
            break;
        }
    }
    lane.ends(child.id());
    let status = child.wait().map_err(file("can't wait for", "cargo"))?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Failed { command: process::line(command), status, output: String::new() }),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// What is compiled, of how much; and what is being compiled.
    At((u32, u32), String),
    Line(String),
}

/// `Building [====>     ] 41/392: syn, tokio(build)` is cargo's bar; all else is for people.
fn read(line: &str) -> Said {
    let line = line.replace("\x1b[K", "");
    let line = line.trim_end();
    let bar = line.trim_start().strip_prefix("Building [").and_then(|bar| bar.split_once("] "));
    let at = bar.and_then(|(_, bar)| {
        let (count, work) = bar.split_once(": ").unwrap_or((bar, ""));
        let (done, all) = count.trim_end_matches(':').split_once('/')?;
        Some(Said::At((done.trim().parse().ok()?, all.trim().parse().ok()?), work.trim().to_owned()))
    });
    match at {
        Some(at) => at,
        // What comes once a command, and is no news.
        None if line.trim().is_empty() || line.trim_start().starts_with("Finished ") => Said::Nothing,
        None => Said::Line(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_bar_says_how_far_it_is_and_what_it_works_on() {
        let at = |line: &str| match read(line) {
            Said::At(count, work) => Some((count, work)),
            _ => None,
        };
        let said = at("    Building [=====>       ] 41/392: syn, tokio(build)   ");
        assert_eq!(said, Some(((41, 392), "syn, tokio(build)".into())));
        assert_eq!(at("\x1b[K    Building [>   ] 0/392: "), Some(((0, 392), String::new())));
        assert_eq!(at("    Building [======] 392/392"), Some(((392, 392), String::new())));
    }

    #[test]
    fn when_one_of_two_lanes_fails_the_programs_of_the_other_end() {
        let mut ended = false;
        let broken = || Err(Error::Unexpected("broken".into()));
        let waits = || {
            let run = run(Command::new("sleep").arg("1000"));
            ended = run.is_err();
            run
        };
        let error = lanes::both(("breaks", broken), ("waits", waits)).expect_err("one of them broke");
        assert_eq!(error.to_string(), "broken");
        assert!(ended);
    }

    #[test]
    fn what_is_for_people_passes_and_what_is_no_news_does_not() {
        let line = "   Compiling syn v3.0.10";
        assert_eq!(read(&format!("\x1b[K{line}")), Said::Line(line.into()));
        assert_eq!(read("error[E0308]: Building [ what"), Said::Line("error[E0308]: Building [ what".into()));
        assert_eq!(read("    Finished `dev` profile [optimized] target(s) in 0.20s"), Said::Nothing);
        assert_eq!(read("  "), Said::Nothing);
    }
}
