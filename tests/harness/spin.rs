//! The other home: the same folder, served by the composed component.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::places;
use crate::setup::{free_port, run};

/// What serves the composed component: the package `holdfast-test-spin`, or Spin.
#[derive(Clone)]
pub struct Spin {
    pub(crate) program: PathBuf,
    pub(crate) options: Vec<String>,
}

impl Spin {
    /// `program` is `spin` for Spin, else what takes the options of `holdfast-spin-host`.
    pub(crate) fn new(program: impl Into<PathBuf>, options: &[&str]) -> Spin {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Spin { program: program.into(), options }
    }

    /// The variables for Spin and the policy with its document inside, made of the folder `home` as it is now.
    #[track_caller]
    fn prepare(home: &Path) -> Vec<(String, String)> {
        run(Command::new(places::program()).arg("spin-env").arg(home));
        let text = std::fs::read_to_string(home.join("spin.env")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let assignment = |line: &str| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('\'').to_owned())
        };
        lines.map(assignment).collect()
    }

    /// The process, and where it will listen when it doesn't say so itself.
    pub(crate) fn command(&self, home: &Path) -> (Command, Option<SocketAddr>) {
        let mut command = Command::new(&self.program);
        command.envs(Spin::prepare(home));
        if self.program == Path::new("spin") {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            command.args(["up", "--quiet", "--from"]).arg(manifest(home));
            command.args(["--listen", &address.to_string()]).args(&self.options);
            return (command, Some(address));
        }
        command.arg(places::components());
        command.arg("--policy").arg(home.join("spin-policy.wasm"));
        command.arg("--cache").arg(places::cache());
        // Each policy is compiled anew, and serves a few requests.
        command.args(["--optimise", "no"]);
        command.args(&self.options);
        (command, None)
    }
}

/// The repository's manifest with the paths of this test.
fn manifest(home: &Path) -> PathBuf {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../spin.toml")).unwrap();
    let component = places::components().join("holdfast-spin.wasm");
    let text = text
        .replace("target/components/holdfast-spin.wasm", component.to_str().unwrap())
        .replace("demo/spin-policy.wasm", home.join("spin-policy.wasm").to_str().unwrap());
    let file = home.join("spin.toml");
    std::fs::write(&file, text).unwrap();
    file
}
