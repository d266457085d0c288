//! A key store whose policy misbehaves, beside one whose doesn't.

use std::process::{Command, Stdio};

use super::figure::{Figure, Goal};
use super::run::{Bench, Length};
use crate::build::{self, Which};
use crate::error::{Error, Result, file};
use crate::process;
use crate::workspace::Workspace;

pub const WHAT: &str = "1,800 requests a second to one key store while another's policy misbehaves in ten a second: it loops, recurses, \
                        takes memory, answers at length or with what isn't UTF-8, or traps";

const LOAD: [&str; 8] =
    ["--rate", "1800", "--connections", "16", "--principals", "100", "--mix", "encrypt=1,decrypt=1"];
/// By the key's id (tests/hostile/policy).
const HOW: [(&str, &str); 6] = [
    ("hostile-loop", "p99 beside loops, by that without"),
    ("hostile-recurse", "beside recursion"),
    ("hostile-allocate", "beside endless allocation"),
    ("hostile-large", "beside vast answers"),
    ("hostile-not-utf8", "beside answers that aren't UTF-8"),
    ("hostile-trap", "beside traps"),
];

pub fn measure(workspace: &Workspace, length: Length) -> Result<Vec<Figure>> {
    build::tools(workspace, Which::All)?;
    build::components(workspace, Which::All)?;
    let bench = Bench::in_folder(workspace, length, "bench-hostile")?;
    let folder = bench.config().with_file_name("");
    let document = folder.join("hostile.txt");
    std::fs::write(&document, "reads-key-id").map_err(file("can't write", &document))?;
    let component = workspace.components().join("hostile-policy.wasm");
    let text = bench.config_text()?;
    bench.put_config(&format!(
        "{text}\n[[key_store]]\nname = \"hostile\"\nuri_path_prefix = \"/hostile\"\nregions = [\"us-east-1\"]\nrate_limit = 0\n\n\
         [key_store.policy]\ncomponent = {{ path = {component:?} }}\nfiles = [\"hostile.txt\"]\n"
    ))?;
    let credential = folder.join("hostile-credential.json");
    let mut create = Command::new(&bench.program);
    create.args(["credential", "create", "--key-store", "hostile", "--config"]).arg(bench.config());
    process::capture(create.arg("--output").arg(&credential))?;
    let server = bench.start()?;
    let mut ratios: [Vec<f64>; HOW.len()] = Default::default();
    let mut refused = Vec::new();
    // What is only slow once, after the start, is nobody's quiet.
    bench.load(&server, &LOAD)?;
    for _ in 0..length.runs {
        for ((key, _), ratios) in HOW.iter().zip(&mut ratios) {
            // Each has its own, just before: a quiet time of the machine isn't compared with a noisy one.
            let quiet = bench.load(&server, &LOAD)?.latency("p99_us")?;
            let mut hostile = Command::new(&bench.program);
            hostile.args([
                "bench",
                "--json",
                "--key",
                key,
                "--mix",
                "encrypt=1",
                "--rate",
                "10",
                "--connections",
                "4",
            ]);
            hostile
                .args(["--url", &format!("http://{}/hostile", bench.address()), "--credential"])
                .arg(&credential);
            hostile.args(["--seconds", &length.seconds.to_string()]);
            hostile.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
            let hostile =
                hostile.spawn().map_err(|error| Error::Unexpected(format!("holdfast bench: {error}")))?;
            let beside = bench.load(&server, &LOAD);
            let hostile = hostile.wait_with_output().map_err(|error| Error::Unexpected(error.to_string()))?;
            let report: serde_json::Value = serde_json::from_slice(&hostile.stdout).map_err(|error| {
                Error::Unexpected(format!("`holdfast bench --json` printed no JSON: {error}"))
            })?;
            let outcomes = report["outcomes"].as_array().into_iter().flatten();
            let others = outcomes
                .filter(|outcome| outcome["status"] != 500)
                .filter_map(|outcome| outcome["count"].as_f64());
            refused.push(others.sum::<f64>() + 0.0);
            ratios.push(beside?.latency("p99_us")? / quiet);
        }
    }
    server.stop()?;
    let mut figures: Vec<Figure> = HOW
        .iter()
        .zip(ratios)
        .map(|((_, name), ratios)| Figure::new(name, "times", Goal::AtMost(1.5), ratios))
        .collect();
    figures.push(Figure::new(
        "requests of the hostile one that weren't refused",
        "requests",
        Goal::AtMost(0.0),
        refused,
    ));
    Ok(figures)
}
