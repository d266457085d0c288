//! Who may command.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use holdfast_tests::{Host, Setup, program, wait_for};

use crate::room::{policy, setup, socket, try_policy};

#[test]
fn the_socket_is_for_nobody_else_and_goes_with_the_host() {
    let mut host = setup().start();
    let metadata = std::fs::symlink_metadata(socket(&host)).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.mode() & 0o777, 0o600);
    policy(&host, &["status"]);
    host.terminate();
    assert!(host.wait().success());
    assert!(!socket(&host).exists());
}

#[test]
fn a_host_that_was_killed_leaves_a_socket_that_the_next_one_takes_over() {
    let mut host = setup().start();
    host.signal(rustix::process::Signal::KILL);
    host.wait();
    assert!(socket(&host).exists());
    let output = try_policy(&host, &["status"]);
    assert_eq!(output.status.code(), Some(3), "nobody answers");
    host.start_again();
    policy(&host, &["status"]);
}

#[test]
fn a_second_host_does_not_take_the_socket_of_a_running_one() {
    let host = setup().start();
    // Nothing but the socket is the same.
    let config = std::fs::read_to_string(host.config_file()).unwrap();
    let own = |line: &str| match line.split_once(" = \"127.0.0.1:") {
        Some((name, _)) => format!("{name} = \"127.0.0.1:0\"\n"),
        None => format!("{line}\n"),
    };
    let second = host.config_file().with_file_name("second.toml");
    std::fs::write(&second, config.lines().map(own).collect::<String>()).unwrap();
    let output = Command::new(program()).arg("serve").arg("--config").arg(second).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("another host listens on the admin socket"), "{complaint}");
    policy(&host, &["status"]);
}

#[test]
fn another_user_is_turned_away_even_where_the_mode_would_let_them_in() {
    let host = setup().start();
    if std::fs::metadata(host.home()).unwrap().uid() != 0 {
        println!("skipped: only root can become another user");
        return;
    }
    let socket = socket(&host);
    let open =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for folder in [host.scratch(), host.home()] {
        open(folder, 0o755);
    }
    open(&socket, 0o666);
    let curl = |user: Option<u32>| {
        let mut command = Command::new("curl");
        command
            .arg("--silent")
            .arg("--max-time")
            .arg("10")
            .arg("--unix-socket")
            .arg(&socket)
            .arg("http://a/");
        command.current_dir("/");
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command.output().unwrap()
    };
    assert!(!curl(Some(65534)).status.success());
    wait_for("the refusal in the log", || {
        host.log().contains("another user on the admin socket is turned away").then_some(())
    });
    curl(None);
    policy(&host, &["status"]);
    assert_eq!(host.log().matches("another user on the admin socket").count(), 1);
}

#[test]
fn without_a_socket_there_is_nothing_to_talk_to() {
    let host: Host = Setup::new()
        .config(|config, _| {
            config.remove("admin");
        })
        .start();
    let output = try_policy(&host, &["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[admin] socket"));
}

#[test]
fn nonsense_on_the_socket_ends_its_connection_only() {
    use std::io::{Read, Write};
    let host = setup().start();
    let mut other_version = br#"{"protocol":2,"command":"status"}"#.to_vec();
    other_version.splice(0..0, u32::try_from(other_version.len()).unwrap().to_be_bytes());
    for (bytes, answer) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), ""),
        (vec![0xff; 100], ""),
        (vec![0, 0, 0, 2, b'[', b'['], ""),
        (other_version, "version 1"),
        (vec![0, 0, 0, 9], ""),
    ] {
        let mut stream = std::os::unix::net::UnixStream::connect(socket(&host)).unwrap();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        // A connection that is reset says nothing either.
        let _ = stream.read_to_end(&mut said);
        assert!(String::from_utf8_lossy(&said).contains(answer));
    }
    policy(&host, &["status"]);
}
