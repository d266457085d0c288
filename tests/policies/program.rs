//! The program, run in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdfast_tests::{components, program};

pub struct Folder(tempfile::TempDir);

pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    #[track_caller]
    pub fn fails(self, code: i32, reason: &str) {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(reason), "wanted {reason:?}: {}", self.stderr);
    }
}

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    /// With the example `examples/policies/NAME` copied to `NAME`.
    pub fn with(name: &str) -> Folder {
        let folder = Folder::new();
        std::fs::create_dir(folder.path(name)).unwrap();
        for entry in std::fs::read_dir(examples().join(name)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.path(name).join(path.file_name().unwrap())).unwrap();
        }
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn replace(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replace(from, to));
    }

    /// Runs `holdfast policy WORDS`.
    pub fn policy(&self, words: &str) -> Ran {
        let mut command = Command::new(program());
        command.arg("policy").args(words.split_whitespace()).current_dir(self.0.path());
        command.env("HOLDFAST_COMPONENTS", components()).env("XDG_CACHE_HOME", holdfast_tests::cache());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies")
}
