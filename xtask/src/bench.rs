//! The task `bench`: the figures of docs/performance.md, on loopback, the load generator beside the server.

mod figure;
mod forged;
mod hsm;
mod latency;
mod machine;
mod memory;
mod page;
mod policy_life;
mod run;
mod sandbox_price;
mod startup;
mod throughput;

use crate::build::{self, Which};
use crate::error::{Error, Result, file};
use crate::report::{bold, note, step};
use crate::workspace::{Profile, Workspace};
use crate::{process, setup};
use figure::Figure;
use run::Bench;
pub use run::Length;

/// A group of figures that one kind of run gives.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// CPU a request and requests a second, encrypting.
    Throughput,
    /// At 1,800 requests a second.
    Latency,
    /// What sandboxing costs beside the same logic linked natively.
    SandboxPrice,
    /// Unsigned and forged requests.
    Forged,
    /// Until the first answer.
    Startup,
    /// Policies changed while requests flow.
    PolicyLife,
    /// Resident memory.
    Memory,
    /// Keys in SoftHSM2: CPU a request, in threads and in a worker process.
    Hsm,
    /// An HSM that takes 5 ms.
    HsmSlow,
    /// HSMs that hang, one of two and all.
    HsmHang,
    /// Millions of calls, of a software key and of SoftHSM2: nothing grows.
    Many,
}

const ALL: [Group; 11] = [
    Group::Startup,
    Group::Throughput,
    Group::Latency,
    Group::SandboxPrice,
    Group::Forged,
    Group::PolicyLife,
    Group::Memory,
    Group::Hsm,
    Group::HsmSlow,
    Group::HsmHang,
    Group::Many,
];

impl Group {
    fn needs_hsms(self) -> bool {
        matches!(self, Group::Hsm | Group::HsmSlow | Group::HsmHang | Group::Many)
    }
}

/// What to measure and how to tell it.
pub struct Wish {
    /// One group instead of all.
    pub only: Option<Group>,
    /// Short runs, three of each, which don't go on the page.
    pub quick: bool,
    /// How much is run.
    pub length: Length,
    /// The figures as JSON on the standard output.
    pub json: bool,
}

/// Measures; a whole run also writes docs/performance.md.
pub fn task(workspace: &Workspace, wish: &Wish) -> Result<()> {
    setup::task(workspace, setup::Purpose::Bench)?;
    build::components(workspace, Which::Product)?;
    let groups: Vec<Group> = wish.only.map_or_else(|| ALL.to_vec(), |group| vec![group]);
    let native = groups.contains(&Group::SandboxPrice).then(|| native_pipeline(workspace)).transpose()?;
    build::host(workspace, Profile::Release)?;
    if groups.iter().any(|group| group.needs_hsms()) {
        hsm::prepare(workspace)?;
    }
    let length = wish.length;
    let bench = Bench::new(workspace, length)?;

    let mut figures: Vec<Figure> = Vec::new();
    let mut failed = Vec::new();
    for group in &groups {
        let measured = match (group, &native) {
            (Group::Throughput, _) => {
                step("bench: throughput", throughput::WHAT, || throughput::measure(&bench))
            }
            (Group::Latency, _) => step("bench: latency", latency::WHAT, || latency::measure(&bench)),
            (Group::SandboxPrice, Some(native)) => {
                step("bench: sandbox price", sandbox_price::WHAT, || sandbox_price::measure(&bench, native))
            }
            (Group::SandboxPrice, None) => Ok(Vec::new()),
            (Group::Forged, _) => step("bench: forged", forged::WHAT, || forged::measure(&bench)),
            (Group::Startup, _) => step("bench: start", startup::WHAT, || startup::measure(&bench)),
            (Group::PolicyLife, _) => {
                step("bench: policies", policy_life::WHAT, || policy_life::measure(&bench))
            }
            (Group::Memory, _) => step("bench: memory", memory::WHAT, || memory::measure(&bench)),
            (Group::Hsm, _) => {
                step("bench: HSM", hsm::price::WHAT, || hsm::price::measure(workspace, length))
            }
            (Group::HsmSlow, _) => {
                step("bench: slow HSM", hsm::slow::WHAT, || hsm::slow::measure(workspace, length))
            }
            (Group::HsmHang, _) => {
                step("bench: HSMs that hang", hsm::hang::WHAT, || hsm::hang::measure(workspace, length))
            }
            (Group::Many, _) => {
                step("bench: many calls", hsm::many::WHAT, || hsm::many::measure(workspace, &bench))
            }
        };
        match measured {
            Ok(measured) => {
                measured.iter().for_each(|figure| note(figure.line()));
                figures.extend(measured);
            }
            // The others are measured all the same.
            Err(error) => failed.push(error),
        }
    }

    let machine = machine::describe(workspace, &length);
    if wish.json {
        println!("{}", page::json(&figures, &machine));
    }
    if wish.only.is_none() && !wish.quick {
        let path = workspace.root.join("docs/performance.md");
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, page::page(&present, &figures, &machine))
            .map_err(file("can't write", &path))?;
        println!("{} {}", bold("written:"), path.display());
    }
    let missed: Vec<&str> =
        figures.iter().filter(|figure| !figure.is_reached()).map(|figure| figure.name).collect();
    // A goal that is missed is a finding and no failure of the measurement.
    if !missed.is_empty() {
        println!("not reached: {}", missed.join("; "));
    }
    for error in &failed {
        println!("{} {error}", bold("not measured:"));
    }
    failed.into_iter().next().map_or(Ok(()), Err)
}

/// The host with the components' logic linked in; only for the comparison.
fn native_pipeline(workspace: &Workspace) -> Result<std::path::PathBuf> {
    step("build: holdfast, components linked natively", "what the sandbox is compared with", || {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--package", "holdfast", "--release", "--features", "native-pipeline"]);
        process::run(&mut cargo)?;
        let program = workspace.holdfast(Profile::Release);
        let copy = program.with_file_name("holdfast-native-pipeline");
        std::fs::copy(&program, &copy).map_err(|source| Error::File {
            action: "can't copy to",
            path: copy.clone(),
            source,
        })?;
        Ok(copy)
    })
}
