//! Where the modules are. `cargo xtask test` says so by environment variables; without those they are looked for.

use std::path::{Path, PathBuf};

/// Whose token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Debian's softhsm2: PKCS#11 2.40. `HOLDFAST_SOFTHSM2`.
    SoftHsm2,
    /// crates.io's kryoptic, as `tests/kryoptic` builds it: PKCS#11 3.0 too. `HOLDFAST_KRYOPTIC`.
    Kryoptic,
}

impl Kind {
    /// The module; an error says what to do. A variable that is set but empty says that there is none.
    pub fn module(self) -> Result<PathBuf, String> {
        let (name, variable) = match self {
            Kind::SoftHsm2 => ("SoftHSM2", "HOLDFAST_SOFTHSM2"),
            Kind::Kryoptic => ("kryoptic", "HOLDFAST_KRYOPTIC"),
        };
        let found = match std::env::var_os(variable) {
            Some(path) => Some(PathBuf::from(path)).filter(|path| path.is_file()),
            None => self.places().into_iter().find(|path| path.is_file()),
        };
        found
            .ok_or_else(|| format!("{name} isn't here; run `cargo xtask setup --for test` or set {variable}"))
    }

    fn places(self) -> Vec<PathBuf> {
        match self {
            Kind::SoftHsm2 => [
                "/usr/lib/softhsm/libsofthsm2.so",
                "/usr/lib64/pkcs11/libsofthsm2.so",
                "/usr/local/lib/softhsm/libsofthsm2.so",
            ]
            .map(PathBuf::from)
            .into(),
            Kind::Kryoptic => {
                let target = profile().parent().map(Path::to_path_buf).unwrap_or_default();
                vec![target.join("kryoptic/release/libholdfast_test_kryoptic.so")]
            }
        }
    }
}

/// The fault module: `HOLDFAST_FAULT_MODULE`, else beside the test's own program, where Cargo puts libraries that a test depends on.
pub fn fault_module() -> PathBuf {
    if let Some(path) = std::env::var_os("HOLDFAST_FAULT_MODULE") {
        return PathBuf::from(path);
    }
    let name = "libholdfast_fault_module.so";
    let places = [profile().join("deps").join(name), profile().join(name)];
    let found = places.iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no {name} in {}; set HOLDFAST_FAULT_MODULE", profile().display())).clone()
}

/// `target/PROFILE`; tests run from `target/PROFILE/deps`.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().nth(2).expect("tests run from target/PROFILE/deps").to_path_buf()
}
