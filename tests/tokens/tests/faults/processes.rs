//! Faults that end the process, seen with other people's programs.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use holdfast_test_tokens::{Crash, Faults, Function, Token, When};

use crate::client::wait_until;

/// Lists the slots, and asks for information on each token.
fn show_slots(token: &Token, faults: &Faults) -> Command {
    let mut command = Command::new("softhsm2-util");
    command.args(["--show-slots", "--module"]).arg(faults.module());
    // It looks at the configuration of its own SoftHSM2 too.
    command.envs(token.environment().iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_call_crashes_the_process() {
    let Some(token) = Token::softhsm2("crashes") else { return };
    let faults = token.faults();
    let run = || -> ExitStatus { show_slots(&token, &faults).status().unwrap() };
    assert!(run().success());
    for (how, signal, code) in [
        (Crash::Abort, Some(libc_signal::ABORT), None),
        (Crash::Segfault, Some(libc_signal::SEGV), None),
        (Crash::Exit, None, Some(1)),
    ] {
        let _ = faults.crash("C_GetTokenInfo", how, When::Next(1));
        let status = run();
        assert_eq!((status.signal(), status.code()), (signal, code), "{how:?}");
        assert!(run().success());
    }
}

mod libc_signal {
    pub const ABORT: i32 = 6;
    pub const SEGV: i32 = 11;
}

#[test]
fn a_killed_process_counts_no_more() {
    let Some(token) = Token::softhsm2("killed") else { return };
    let faults = token.faults();
    let _ = faults.hang("C_GetTokenInfo", When::Always);
    let mut child = show_slots(&token, &faults).spawn().unwrap();
    wait_until("the hanging call", || faults.inside(Function::C_GetTokenInfo) == 1);
    assert_eq!(faults.processes(), [child.id()]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(faults.inside(Function::C_GetTokenInfo), 0);
    assert!(faults.processes().is_empty());
    faults.clear();
    assert!(show_slots(&token, &faults).status().unwrap().success());
}

#[test]
fn other_programs_work_through_the_module() {
    for token in [Token::softhsm2("others"), Token::kryoptic("others")] {
        let Some(token) = token else { continue };
        token.create_key("demo");
        let faults = token.faults();
        let mut tool = Command::new("pkcs11-tool");
        tool.arg("--module").arg(faults.module()).args(["--token-label", "others", "--login", "--pin"]);
        tool.arg(token.pin()).arg("--list-objects").stdin(Stdio::null());
        let Ok(output) = tool.output() else {
            println!("skipped: pkcs11-tool isn't here; it comes with OpenSC");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("Secret Key Object; AES length 32"), "{said}");
        assert!(faults.calls(Function::C_FindObjects) > 0);
    }
}

#[test]
fn a_control_file_can_be_written_by_hand() {
    let Some(token) = Token::softhsm2("hand") else { return };
    let faults = token.faults();
    let control = faults.module().with_file_name("faults.control");
    std::fs::write(control, "# by hand\nC_GetTokenInfo crash exit next 1\n").unwrap();
    assert_eq!(show_slots(&token, &faults).status().unwrap().code(), Some(1));
    assert!(show_slots(&token, &faults).status().unwrap().success());
}
