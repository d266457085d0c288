//! Policies changed while requests flow.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::figure::{Figure, Goal};
use super::project;
use super::run::Bench;
use crate::error::{Error, Result, file};
use crate::process;

pub const WHAT: &str = "1,800 requests a second while 100 activations in 5 s alternate two Cedar policies, and while a Cedar policy that can't be cached is \
     in the shadow; staging a new document";

const LOAD: [&str; 8] =
    ["--rate", "1800", "--connections", "16", "--principals", "100", "--mix", "encrypt=1,decrypt=1"];
/// A policy of one run.
struct Staged {
    artefact: String,
    rule: String,
}

/// Counts that each request changes, so that a candidate decides each in a fresh instance.
const UNCACHEABLE: &str = " unless { context.decrypts.hour > 4000000000 }";
/// Activations in each run.
const ACTIVATIONS: u32 = 100;
/// From one to the next, whatever the length of other runs.
const PAUSE: Duration = Duration::from_millis(50);
/// For how long requests flow, with them and without.
const FLOW: [&str; 2] = ["--seconds", "5.2"];

pub fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = bench.config().with_file_name("");
    // The path of a socket is short, and the target folder's may be long.
    let socket = std::env::temp_dir().join(format!("holdfast-bench-{}.sock", std::process::id()));
    let before = bench.config_text()?;
    let own = before.replace("socket = \"admin.sock\"", &format!("socket = {socket:?}"));
    bench.put_config(&format!("{own}\n[policies]\nallow_unsigned = true\n"))?;
    let figures = changes(bench, &folder, &socket);
    bench.put_config(&before)?;
    figures
}

fn changes(bench: &Bench, folder: &Path, socket: &Path) -> Result<Vec<Figure>> {
    let server = bench.start()?;
    let (mut staging, mut taken) = (Vec::new(), Vec::new());
    let (mut failed, mut others, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    let (mut shadowed, mut dropped) = (Vec::new(), Vec::new());
    for run in 0..bench.length.runs {
        let mut policies = Vec::new();
        for name in ["one", "two"] {
            let rule = format!("{name}-{run}-{}", std::process::id());
            let begun = Instant::now();
            let path = pack(bench, folder, &rule, "")?;
            let packed = begun.elapsed();
            let artefact = stage(bench, socket, &path)?;
            staging.push((begun.elapsed() - packed).as_secs_f64());
            policies.push(Staged { artefact, rule });
        }
        let mut stream = UnixStream::connect(socket).map_err(file("can't connect to", socket))?;
        activate(&mut stream, &policies[0].artefact)?;
        let flow = [LOAD.as_slice(), &FLOW].concat();
        let quiet = bench.load(&server, &flow)?.latency("p99_us")?;
        let begun = audit_length(bench)?;
        let seconds = bench.length.seconds;
        let (busy, activated) = std::thread::scope(|scope| {
            let activating = scope.spawn(|| alternate(&mut stream, &policies));
            let busy = bench.load(&server, &flow);
            (busy, activating.join())
        });
        let busy = busy?;
        let died = |_| Error::Unexpected("the thread that activates died".into());
        taken.extend(activated.map_err(died)??);
        failed.push(busy.refused()? + busy.number("/unsent")?);
        ratio.push(busy.latency("p99_us")? / quiet);
        others.push(foreign(bench, begun, &policies)? as f64);
        let candidate = format!("shadow-{run}-{}", std::process::id());
        let candidate = stage(bench, socket, &pack(bench, folder, &candidate, UNCACHEABLE)?)?;
        // Right before and right after, as a machine has better and worse minutes.
        let before = bench.load(&server, &LOAD)?.latency("p99_us")?;
        done(&mut stream, &json!({"shadow": {"artefact": candidate, "of": "all"}}))?;
        let beside = bench.load(&server, &LOAD)?.latency("p99_us")?;
        let (compared, lost) = watched(&mut stream)?;
        // A shadow that decided nothing would cost nothing.
        if compared < 1800.0 * seconds / 2.0 {
            return Err(Error::Unexpected(format!("the shadow compared only {compared} decisions")));
        }
        done(&mut stream, &json!({"shadow": {"artefact": null, "of": "all"}}))?;
        let after = bench.load(&server, &LOAD)?.latency("p99_us")?;
        shadowed.push(beside * 2.0 / (before + after));
        dropped.push(lost);
    }
    server.stop()?;
    Ok(vec![
        Figure::new("requests failed over 100 activations", "requests", Goal::AtMost(0.0), failed),
        Figure::new("decisions by neither policy", "decisions", Goal::AtMost(0.0), others),
        Figure::new("p99 with activations to p99 without", "times", Goal::AtMost(1.5), ratio),
        Figure::new("activation of a staged policy", "ms", Goal::AtMost(20.0), taken),
        Figure::new("staging a new Cedar document", "s", Goal::AtMost(3.0), staging),
        Figure::new("p99 with a shadow to p99 without", "times", Goal::AtMost(1.1), shadowed),
        Figure::new("requests that the shadow left out", "requests", Goal::AtMost(0.0), dropped),
    ])
}

/// Activates one after the other; the times of the activations in ms, from the question to the answer.
fn alternate(stream: &mut UnixStream, policies: &[Staged]) -> Result<Vec<f64>> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    for (number, staged) in (0..ACTIVATIONS).zip(policies.iter().rev().cycle()) {
        std::thread::sleep((PAUSE * number).saturating_sub(begun.elapsed()));
        let asked = Instant::now();
        activate(stream, &staged.artefact)?;
        times.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

fn activate(stream: &mut UnixStream, artefact: &str) -> Result<()> {
    done(stream, &json!({"activate": {"artefact": artefact, "of": "all"}})).map(drop)
}

/// What is answered to a command that is carried out.
fn done(stream: &mut UnixStream, command: &Value) -> Result<Value> {
    let mut reply = call(stream, command).map_err(file("can't talk to", "the admin socket"))?;
    match reply.get_mut("done") {
        Some(done) => Ok(done.take()),
        None => Err(Error::Unexpected(format!("{command} was refused: {reply}"))),
    }
}

/// How many decisions the shadow compared, and how many queries it left out.
fn watched(stream: &mut UnixStream) -> Result<(f64, f64)> {
    let reply = done(stream, &json!("status"))?;
    let shadow = find(&reply, "decisions").ok_or_else(|| Error::Unexpected(format!("no shadow: {reply}")))?;
    let decisions = shadow["decisions"].as_object().into_iter().flatten();
    let compared = decisions.filter_map(|(_, count)| count.as_f64()).sum();
    Ok((compared, shadow["dropped"].as_f64().unwrap_or(0.0)))
}

/// The object within `value` that has a member of this name.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) if members.contains_key(name) => Some(value),
        Value::Object(members) => members.values().find_map(|member| find(member, name)),
        Value::Array(elements) => elements.iter().find_map(|element| find(element, name)),
        _ => None,
    }
}

/// Stages a file; its digest.
fn stage(bench: &Bench, socket: &Path, path: &Path) -> Result<String> {
    let mut stage = Command::new(&bench.program);
    stage.args(["policy", "stage", "--json", "--socket"]).arg(socket).arg(path);
    let staged: Value = parse(&process::capture(&mut stage)?)?;
    Ok(staged["staged"]["staged"]["artefact"].as_str().unwrap_or_default().to_owned())
}

/// One command on the admin socket (host/src/admin/protocol.rs).
fn call(stream: &mut UnixStream, command: &Value) -> std::io::Result<Value> {
    let request = json!({"protocol": 1, "command": command}).to_string();
    let mut bytes = u32::try_from(request.len()).map_err(std::io::Error::other)?.to_be_bytes().to_vec();
    bytes.extend_from_slice(request.as_bytes());
    stream.write_all(&bytes)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut reply)?;
    Ok(serde_json::from_slice(&reply)?)
}

/// A policy whose document no run had before; its first rule allows, but for `exception`.
fn pack(bench: &Bench, folder: &Path, rule: &str, exception: &str) -> Result<PathBuf> {
    let mut rules = format!("@id(\"{rule}\") permit (principal, action, resource){exception};\n");
    for number in 1..20 {
        rules += &format!(
            "@id(\"{number}\") forbid (principal == Role::\"111122223333/None{number}\", action, resource) \
             when {{ context has viaService && context.viaService == \"none{number}\" }};\n"
        );
    }
    project::pack(bench, &project::write_rules(folder, rule, &rules, None)?)
}

fn audit_length(bench: &Bench) -> Result<usize> {
    let path = bench.audit();
    Ok(std::fs::metadata(&path).map_err(file("can't look at", &path))?.len() as usize)
}

/// Decisions recorded since `begun` that are by no policy of this run, or by another rule than its one.
fn foreign(bench: &Bench, begun: usize, policies: &[Staged]) -> Result<usize> {
    let path = bench.audit();
    let text = std::fs::read_to_string(&path).map_err(file("can't read", &path))?;
    let mut wrong = 0;
    for line in text.get(begun..).unwrap_or_default().lines() {
        let record = parse(line)?;
        let policy = &record["policy"];
        let fits = |staged: &Staged| {
            policy["artefact"] == staged.artefact.as_str() && policy["rules"] == json!([staged.rule])
        };
        wrong += usize::from(!policy.is_null() && !policies.iter().any(fits));
    }
    Ok(wrong)
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::Unexpected(format!("no JSON: {error}: {text}")))
}
