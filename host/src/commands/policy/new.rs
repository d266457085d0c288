//! `holdfast policy new`: the examples of `examples/policies`, under a name of one's own.

use std::path::{Path, PathBuf};

use crate::commands::new_file::{self, Mode};
use crate::commands::{CommandError, Output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The new folder says how it is built (README.md) and has test cases that pass.

Example:
  holdfast policy new payments --lang cedar && holdfast policy test payments")]
pub struct Arguments {
    /// The folder to make; its name becomes the policy's
    folder: PathBuf,
    /// What to write it in
    #[arg(long, value_enum, default_value = "cedar")]
    lang: Language,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Cedar,
    Rust,
    Js,
    Python,
}

#[derive(Debug, thiserror::Error)]
enum NewError {
    #[error("can't make {path}", path = path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("{0:?} isn't a name for a policy: letters, digits, - and _")]
    Name(String),
}

macro_rules! example {
    ($($file:literal),*) => {
        &[$(($file, include_str!(concat!("../../../../examples/policies/", $file)))),*]
    };
}

const CEDAR: &[(&str, &str)] =
    example!["cedar/policy.toml", "cedar/rules.cedar", "cedar/groups.json", "cedar/cases.toml"];
const RUST: &[(&str, &str)] = example![
    "rust/policy.toml",
    "rust/Cargo.toml",
    "rust/src/lib.rs",
    "rust/README.md",
    "rust/.gitignore",
    "cedar/cases.toml"
];
const JS: &[(&str, &str)] = example![
    "javascript/policy.toml",
    "javascript/package.json",
    "javascript/policy.js",
    "javascript/build.mjs",
    "javascript/README.md",
    "javascript/.gitignore",
    "cedar/cases.toml"
];
const PYTHON: &[(&str, &str)] = example![
    "python/policy.toml",
    "python/policy.py",
    "python/README.md",
    "python/.gitignore",
    "cedar/cases.toml"
];
const WIT: &str = include_str!("../../../../wit/policy/policy.wit");

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let folder = &arguments.folder;
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(fits) {
        return Err(NewError::Name(name.to_owned()).into());
    }
    make(folder)?;
    let files = match arguments.lang {
        Language::Cedar => CEDAR,
        Language::Rust => RUST,
        Language::Js => JS,
        Language::Python => PYTHON,
    };
    for (file, text) in files {
        let (_, file) = file.split_once('/').unwrap_or_default();
        let path = folder.join(file);
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            make(parent)?;
        }
        // In TOML and in JSON.
        let text = text
            .replace("name = \"small\"", &format!("name = \"{name}\""))
            .replace("\"name\": \"small\"", &format!("\"name\": \"{name}\""));
        new_file::write(&path, text.as_bytes(), Mode::Public)?;
    }
    if arguments.lang != Language::Cedar {
        make(&folder.join("wit"))?;
        new_file::write(&folder.join("wit/policy.wit"), WIT.as_bytes(), Mode::Public)?;
    }
    let shown = folder.display();
    match arguments.lang {
        Language::Cedar => output.line(format_args!("{shown}  next: holdfast policy test {shown}"))?,
        _ => output.line(format_args!("{shown}  next: build it as {shown}/README.md says"))?,
    }
    Ok(())
}

fn make(path: &Path) -> Result<(), NewError> {
    std::fs::create_dir(path).map_err(|source| NewError::Folder { path: path.to_owned(), source })
}
