//! A host that can't start says what to mend, and ends with exit code 1.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdfast_tests::{PERMIT_ALL, Setup, components, program, wait_for};

/// What `holdfast init` makes, to be broken.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new(init: &[&str]) -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program());
        command.arg("init").arg(folder.path().join("host")).arg("--components").arg(components());
        let output = command.args(["--listen", "127.0.0.1:0"]).args(init).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Folder { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("host").join(name)
    }

    #[track_caller]
    fn edit(&self, from: &str, to: &str) {
        let path = self.file("holdfast.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no {from:?} in {text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// Without a policy, which takes a while to compile.
    fn without_policy(self) -> Folder {
        let path = self.file("holdfast.toml");
        let text = fs::read_to_string(&path).unwrap();
        let (before, _) = text.split_once("# Without a policy").unwrap();
        fs::write(path, before).unwrap();
        self
    }

    fn serve(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("serve").arg("--config").arg(self.file("holdfast.toml")).stdin(Stdio::null());
        command
    }

    /// It ends with exit code 1, and its complaint holds every part.
    #[track_caller]
    fn does_not_start(&self, parts: &[&str]) {
        let output = self.serve().output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        println!("{}", complaint.lines().last().unwrap_or_default());
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(output.stdout.is_empty(), "it said that it listens");
        assert!(!complaint.contains("panicked"), "{complaint}");
        for part in parts {
            assert!(complaint.contains(part), "{part:?} is not in: {complaint}");
        }
    }

    /// It starts, and its log holds every part.
    #[track_caller]
    fn starts(&self, parts: &[&str]) {
        let mut child = self
            .serve()
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.file("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
            .unwrap();
        let log = fs::read_to_string(self.file("log")).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.starts_with("listening on "), "{log}");
        for part in parts {
            assert!(log.contains(part), "{part:?} is not in: {log}");
        }
    }
}

fn plain() -> Folder {
    Folder::new(&["--plain-http"]).without_policy()
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
}

#[test]
fn a_wrong_seal_and_a_damaged_keystore_are_told_apart() {
    let folder = plain();
    let other = plain();
    fs::copy(other.file("keystore.seal"), folder.file("keystore.seal")).unwrap();
    folder.does_not_start(&["keystore.holdfast", "wrong key-file"]);
    let folder = plain();
    let path = folder.file("keystore.holdfast");
    let mut content = fs::read(&path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    write(&path, content);
    folder.does_not_start(&["keystore.holdfast", "damaged"]);
    fs::remove_file(&path).unwrap();
    folder.does_not_start(&["keystore.holdfast"]);
    fs::remove_file(folder.file("keystore.seal")).unwrap();
    folder.does_not_start(&["keystore.seal"]);
}

#[test]
fn a_missing_broken_or_wrong_component_is_named() {
    let folder = plain();
    fs::remove_file(folder.file("components/proxy.wasm")).unwrap();
    folder.does_not_start(&["components/proxy.wasm"]);
    write(&folder.file("components/proxy.wasm"), "no component");
    folder.does_not_start(&["proxy"]);
    fs::copy(folder.file("components/sigv4.wasm"), folder.file("components/proxy.wasm")).unwrap();
    folder.does_not_start(&["proxy"]);
    let folder = plain();
    let pin = format!("path = \"components/sigv4.wasm\", sha256 = \"{}\"", "0".repeat(64));
    folder.edit("path = \"components/sigv4.wasm\"", &pin);
    folder.does_not_start(&["components/sigv4.wasm", "sha256", &"0".repeat(64)]);
}

#[test]
fn a_bad_policy_refuses_and_is_named_with_line_and_column() {
    let mut host = Setup::new().start();
    let cache = Folder::new(&["--plain-http"]);
    // The compiled Cedar that all tests share.
    let shared = fs::read_to_string(host.config_file()).unwrap();
    let shared = shared.lines().find(|line| line.starts_with("cache = ")).unwrap();
    cache.edit("cache = \"cache\"", shared);
    write(
        &cache.file("policy.cedar"),
        format!("{PERMIT_ALL}\npermit (principal, action, resource) when {{ context.nosuch }};\n"),
    );
    let refuses = "every operation with its keys is refused";
    cache.starts(&[refuses, "demo", "policy.cedar:3:"]);
    write(&cache.file("policy.cedar"), format!("{PERMIT_ALL}forbid (principal, action\n"));
    cache.starts(&[refuses, "demo", "policy.cedar:2:"]);
    fs::remove_file(cache.file("policy.cedar")).unwrap();
    cache.starts(&[refuses, "demo", "policy.cedar"]);
    host.assert_running();
}

#[test]
fn a_bad_configuration_is_named_with_file_and_line() {
    let folder = plain();
    folder.edit("listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\"");
    folder.does_not_start(&["holdfast.toml", "loopback"]);
    let folder = plain();
    folder.edit("[audit]", "[audit]\nnosuch = 1");
    folder.does_not_start(&["holdfast.toml", "nosuch"]);
    let folder = plain();
    folder.edit("[audit]", "[audit");
    folder.does_not_start(&["holdfast.toml"]);
    fs::remove_file(folder.file("holdfast.toml")).unwrap();
    folder.does_not_start(&["holdfast.toml"]);
}

#[test]
fn a_port_in_use_and_an_audit_log_that_cannot_be_opened_are_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = plain();
    folder.edit("127.0.0.1:0", &address);
    folder.does_not_start(&["can't listen on", &address]);
    let folder = plain();
    folder.edit("path = \"audit.jsonl\"", "path = \"nowhere/audit.jsonl\"");
    folder.does_not_start(&["nowhere/audit.jsonl"]);
}

#[test]
fn a_tls_key_of_another_certificate_is_refused() {
    let (folder, other) = (Folder::new(&[]).without_policy(), Folder::new(&[]));
    let key = fs::read_dir(folder.file("tls"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let key = key.into_iter().find(|name| name.contains("key") && !name.contains("ca")).unwrap();
    fs::copy(other.file(&format!("tls/{key}")), folder.file(&format!("tls/{key}"))).unwrap();
    folder.does_not_start(&["certificate"]);
    write(&folder.file(&format!("tls/{key}")), "no key");
    folder.does_not_start(&["private key", &key]);
}

#[test]
fn a_cache_that_others_can_read_is_refused_and_a_damaged_one_is_made_anew() {
    let folder = plain();
    folder.starts(&["compiling"]);
    let cache = folder.file("cache");
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    let compiled = || fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert!(!compiled().is_empty());
    let contents: Vec<Vec<u8>> = compiled().iter().map(|path| fs::read(path).unwrap()).collect();
    for path in compiled() {
        let mut content = fs::read(&path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        write(&path, content);
    }
    folder.starts(&["damaged", "compiling"]);
    let again: Vec<Vec<u8>> = compiled().iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(contents.len(), again.len());
    for path in compiled() {
        write(&path, b"short");
    }
    folder.starts(&["compiling"]);
    fs::set_permissions(&cache, Permissions::from_mode(0o755)).unwrap();
    folder.does_not_start(&["cache", "0700"]);
}

#[test]
fn two_hosts_of_one_folder_do_not_share_a_port() {
    let first = Setup::new().start();
    let text = fs::read_to_string(first.config_file()).unwrap();
    let listen = format!("127.0.0.1:{}", first.address().port());
    let second = first.home().join("second.toml");
    write(&second, text.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{listen}\"")));
    let output = Command::new(program()).arg("serve").arg("--config").arg(second).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    wait_for("an answer", || {
        let reply = first.raw().exchange("GET /ping HTTP/1.1\r\nhost: a\r\n\r\n");
        (reply.status == 200).then_some(())
    });
}
