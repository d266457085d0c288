//! How long a build will take, told before it begins.

use crate::report::bold;
use crate::workspace::{Profile, Workspace};

/// Minutes of processor time that everything takes when nothing is there; measured, see docs/performance.md.
const COLD: f64 = 17.6;
/// Minutes below which more cores don't bring it: what has to be compiled one after the other.
const LONGEST: f64 = 6.0;

/// Says it for the program and the host's components.
pub fn tell(workspace: &Workspace) {
    let program = workspace.holdfast(Profile::Dev).is_file();
    let component = workspace.components().join("policy-cedar.wasm").is_file();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let text = match (program, component) {
        (true, true) => "Compiled before: some 20 s, and more where the code has changed.".to_owned(),
        _ => cold(cores, workspace.target().join("debug/deps").is_dir()),
    };
    println!("{}", bold(text));
}

fn cold(cores: usize, begun: bool) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
    let minutes = (COLD / cores as f64).max(LONGEST).ceil();
    let cores = if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") };
    let begun = if begun { ", less what an earlier run has compiled" } else { "" };
    format!(
        "The first run compiles Wasmtime and Cedar: about {minutes} min on {cores}{begun}. Later ones take seconds."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_cores_take_less_down_to_what_goes_one_after_the_other() {
        assert!(cold(2, false).contains("about 9 min on 2 cores."));
        assert!(cold(1, false).contains("about 18 min on one core."));
        assert!(cold(64, false).contains("about 6 min on 64 cores."));
        assert!(cold(2, true).contains("less what an earlier run has compiled"));
    }
}
