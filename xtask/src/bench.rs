//! The task `bench`: the figures of docs/performance.md, on loopback, the load generator beside the server.

mod backtest;
mod figure;
mod forged;
mod hsm;
mod latency;
mod machine;
mod memory;
mod page;
mod policies;
mod policy_hostile;
mod policy_life;
mod project;
mod run;
mod sandbox_price;
mod size;
mod spin;
mod startup;
mod throughput;

use crate::build::{self, Which};
use crate::error::{Error, Result, file};
use crate::report::{bold, note, step};
use crate::workspace::{Profile, Workspace};
use crate::{cargo, setup};
use clap::ValueEnum as _;
use page::Section;
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
    /// What an edge image carries.
    Size,
    /// Until the first answer.
    Startup,
    /// What a decision of a policy costs, in each language.
    Policies,
    /// Policies changed while requests flow.
    PolicyLife,
    /// Requests beside those of a key store whose policy misbehaves.
    PolicyHostile,
    /// Recorded requests decided again.
    Backtest,
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
    /// The composed component that Spin runs.
    Spin,
}

const ALL: [Group; 16] = [
    Group::Size,
    Group::Startup,
    Group::Throughput,
    Group::Latency,
    Group::SandboxPrice,
    Group::Forged,
    Group::Policies,
    Group::PolicyLife,
    Group::PolicyHostile,
    Group::Backtest,
    Group::Memory,
    Group::Hsm,
    Group::HsmSlow,
    Group::HsmHang,
    Group::Many,
    Group::Spin,
];

impl Group {
    /// As `--only` calls it.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn what(self) -> &'static str {
        match self {
            Group::Throughput => throughput::WHAT,
            Group::Latency => latency::WHAT,
            Group::SandboxPrice => sandbox_price::WHAT,
            Group::Forged => forged::WHAT,
            Group::Size => size::WHAT,
            Group::Startup => startup::WHAT,
            Group::Policies => policies::WHAT,
            Group::PolicyLife => policy_life::WHAT,
            Group::PolicyHostile => policy_hostile::WHAT,
            Group::Backtest => backtest::WHAT,
            Group::Memory => memory::WHAT,
            Group::Hsm => hsm::price::WHAT,
            Group::HsmSlow => hsm::slow::WHAT,
            Group::HsmHang => hsm::hang::WHAT,
            Group::Many => hsm::many::WHAT,
            Group::Spin => spin::WHAT,
        }
    }

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

/// Measures, and unless it is quick replaces the figures in docs/performance.md.
pub fn task(workspace: &Workspace, wish: &Wish) -> Result<()> {
    setup::task(workspace, setup::Purpose::Bench)?;
    let groups: Vec<Group> = wish.only.map_or_else(|| ALL.to_vec(), |group| vec![group]);
    let which = if groups.contains(&Group::Spin) { Which::Product } else { Which::Host };
    let mut native = None;
    let programs = || {
        native = groups.contains(&Group::SandboxPrice).then(|| native_pipeline(workspace)).transpose()?;
        build::host(workspace, Profile::Release, which)?;
        build::tools(workspace, which)
    };
    build::beside(workspace, which, programs)?;
    if groups.iter().any(|group| group.needs_hsms()) {
        hsm::prepare(workspace)?;
    }
    if groups.contains(&Group::Spin) {
        step("build: holdfast-spin-host", "serves the composed component", || spin::build(workspace))?;
    }
    let length = wish.length;
    let bench = Bench::new(workspace, length)?;

    let mut sections: Vec<Section> = Vec::new();
    let mut failed = Vec::new();
    for group in &groups {
        let (name, what) = (group.name(), group.what());
        let measured = step(&format!("bench: {name}"), what, || match group {
            Group::Throughput => throughput::measure(&bench),
            Group::Latency => latency::measure(&bench),
            Group::SandboxPrice => match &native {
                Some(native) => sandbox_price::measure(&bench, native),
                None => Ok(Vec::new()),
            },
            Group::Forged => forged::measure(&bench),
            Group::Size => size::measure(workspace),
            Group::Startup => startup::measure(&bench),
            Group::Policies => policies::measure(workspace, &bench),
            Group::PolicyLife => policy_life::measure(&bench),
            Group::PolicyHostile => policy_hostile::measure(workspace, length),
            Group::Backtest => backtest::measure(&bench),
            Group::Memory => memory::measure(&bench),
            Group::Hsm => hsm::price::measure(workspace, length),
            Group::HsmSlow => hsm::slow::measure(workspace, length),
            Group::HsmHang => hsm::hang::measure(workspace, length),
            Group::Many => hsm::many::measure(workspace, &bench),
            Group::Spin => spin::measure(workspace, &bench),
        });
        match measured {
            Ok(figures) => {
                figures.iter().for_each(|figure| note(figure.line()));
                sections.push(Section { name, what, figures });
            }
            // The others are measured all the same.
            Err(error) => failed.push(error),
        }
    }

    let machine = machine::describe(workspace, &length);
    if wish.json {
        println!("{}", page::json(&sections, &machine));
    }
    if !wish.quick {
        let path = workspace.root.join("docs/performance.md");
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        let order = ALL.map(Group::name);
        std::fs::write(&path, page::page(&present, &sections, &order, &machine))
            .map_err(file("can't write", &path))?;
        println!("{} {}", bold("written:"), path.display());
    }
    let figures = sections.iter().flat_map(|section| &section.figures);
    let missed: Vec<&str> = figures.filter(|figure| !figure.is_reached()).map(|figure| figure.name).collect();
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
        let mut command = workspace.cargo();
        command.args(["build", "--package", "holdfast", "--release", "--features", "native-pipeline"]);
        cargo::run(&mut command)?;
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
