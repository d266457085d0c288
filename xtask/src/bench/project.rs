//! Policies to measure with.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::Bench;
use crate::error::{Result, file};
use crate::process;

/// Three decisions: one by the last rule, one that no rule allows, and one of another operation.
const CASES: &str = r#"
[defaults]
keyStore = "demo"
principal = "arn:aws:sts::111122223333:assumed-role/Role10/i-0123456789abcdef0"
viaService = "ebs"
sourceVpce = "vpce-0123456789abcdef0"

[[case]]
name = "its own key"
expect = "allow"
query = { operation = "Decrypt", key = "key-1" }

[[case]]
name = "another's key"
expect = "deny"
query = { operation = "Encrypt", key = "key-2" }

[[case]]
name = "metadata"
expect = "allow"
query = { operation = "GetKeyMetadata", key = "key-2" }
"#;

/// Writes a Cedar policy of so many rules into `folder/name`: each lets one role use one key through one service.
pub fn write(folder: &Path, name: &str, rules: usize) -> Result<PathBuf> {
    let mut text =
        "@id(\"look\") permit (principal, action == Action::\"GetKeyMetadata\", resource);\n".to_owned();
    for number in 0..rules.saturating_sub(1) {
        text += &format!(
            "@id(\"rule-{number}\") permit (principal == Role::\"111122223333/Role{}\", action in \
             [Action::\"Encrypt\", Action::\"Decrypt\"], resource == Key::\"key-{number}\") when {{ context has \
             viaService && context.viaService == \"ebs\" }};\n",
            number * 10
        );
    }
    write_rules(folder, name, &text, Some(CASES))
}

/// Writes a Cedar policy of these rules into `folder/name`.
pub fn write_rules(folder: &Path, name: &str, rules: &str, cases: Option<&str>) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::create_dir_all(&path).map_err(file("can't make", &path))?;
    let tests = if cases.is_some() { "tests = [\"cases.toml\"]\n" } else { "" };
    let manifest = format!(
        "name = \"{name}\"\nversion = \"1\"\nengine = \"cedar\"\ndocument = [\"rules.cedar\"]\n{tests}"
    );
    for (name, text) in
        [("policy.toml", manifest.as_str()), ("rules.cedar", rules), ("cases.toml", cases.unwrap_or(""))]
    {
        let file_path = path.join(name);
        std::fs::write(&file_path, text).map_err(file("can't write", &file_path))?;
    }
    Ok(path)
}

/// Makes one file of it.
pub fn pack(bench: &Bench, project: &Path) -> Result<PathBuf> {
    let to = project.with_extension("wasm");
    process::capture(
        Command::new(&bench.program).args(["policy", "pack"]).arg(project).arg("--to").arg(&to),
    )?;
    Ok(to)
}
