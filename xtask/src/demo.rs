//! The task `demo`: a key store from nothing to its audit log, over real HTTPS.

mod audit;
mod call;
mod stop;

use std::path::PathBuf;
use std::process::Command;

use crate::build::{self, Which};
use crate::error::{Error, Result, file};
use crate::report::{bold, good, step};
use crate::server::{Ready, Server, free_address, scratch};
use crate::workspace::{Profile, Workspace};
use call::Caller;

const PLAINTEXT: &str = "Hello from the customer's side";
/// A principal that the starter policy forbids, and the rule that does.
const ROOT_USER: &str = "arn:aws:iam::123456789012:root";
const RULE: &str = "no-root-users";

/// Runs the demonstration; an error if anything isn't as it should be.
pub fn task(workspace: &Workspace) -> Result<()> {
    build::expect::tell(workspace);
    build::beside(workspace, Which::Host, || build::host(workspace, Profile::Dev, Which::Host))?;
    let folder = scratch(workspace.target().join("demo"))?;
    let address = free_address()?;
    let program = workspace.holdfast(Profile::Dev);

    let init = ["init".into(), folder.display().to_string(), "--listen".into(), address.to_string()];
    shown(
        &format!("holdfast {}", init.join(" ")),
        "configuration, sealed keystore, credential, policy, certificates",
        || {
            let mut command = Command::new(&program);
            command.args(&init).arg("--components").arg(workspace.components());
            let said = crate::process::capture(&mut command)?;
            print!("{}", said.lines().map(|line| format!("   {line}\n")).collect::<String>());
            Ok(())
        },
    )?;
    let config = folder.join("holdfast.toml");
    let server = shown(
        &format!("holdfast serve --config {}", config.display()),
        "HTTPS on a free loopback port",
        || {
            let server = Server::start(&program, &config, &[], address, Ready::Listens)?;
            println!("   ready after {} ms, process {}", server.started_in.as_millis(), server.pid());
            Ok(server)
        },
    )?;

    let caller = Caller::new(program, &folder, address.port());
    calls(&caller, folder.join("sealed.json"))?;
    let records = folder.join("audit.jsonl");
    let why = "one record a request, written before its answer leaves; shortened here";
    shown(&format!("cat {}", records.display()), why, || audit::show(&records, RULE))?;
    shown("kill -TERM", "the server answers what it has accepted, then ends", || {
        stop::show(server, &caller, &folder)
    })?;
    println!(
        "\n{}",
        bold("-- Last in the audit log: requests that nobody vouches for are counted, not recorded.")
    );
    audit::show_counts(&records)?;
    println!("\n{} All of it is in {}; remove it when you like.", good("As expected."), folder.display());
    Ok(())
}

fn calls(caller: &Caller, sealed: PathBuf) -> Result<()> {
    caller.call("Is the key store able to serve?", &["health"])?.succeeded()?;
    caller.call("What is this key, and what may it do?", &["metadata", "--key", "demo"])?.succeeded()?;

    let encrypt = ["encrypt", "--key", "demo", "--plaintext", PLAINTEXT, "--cdiv", "--json"];
    let answer =
        caller.call("Encrypt, and prove the ciphertext's integrity (CDIV).", &encrypt)?.succeeded()?;
    std::fs::write(&sealed, &answer.output).map_err(file("can't write", &sealed))?;
    let from = sealed.display().to_string();
    let decrypt = ["decrypt", "--key", "demo", "--from", &from];
    let answer = caller.call("Decrypt it again.", &decrypt)?.succeeded()?;
    match answer.output.trim_end() == PLAINTEXT {
        true => println!("   {} {}", good("the same:"), answer.output.trim_end()),
        false => return Err(Error::Unexpected(format!("decrypted {:?}, not {PLAINTEXT:?}", answer.output))),
    }

    let altered = ["metadata", "--key", "demo", "--alter", "body"];
    let asked = "One byte is altered on the way: refused before anything reads the body.";
    caller.call(asked, &altered)?.refused("AuthenticationFailedException")?;
    let root = ["decrypt", "--key", "demo", "--from", &from, "--principal", ROOT_USER];
    let asked = "AWS's root user wants to decrypt; the policy forbids that to root users.";
    caller.call(asked, &root)?.refused("AccessDeniedException")?;
    let role =
        ["decrypt", "--key", "demo", "--from", &from, "--principal", "ec2.amazonaws.com", "--repeat", "20"];
    caller.call("Twenty more, on one connection.", &role)?.succeeded()?;
    Ok(())
}

fn shown<T>(command: &str, why: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!();
    step(&format!("$ {command}"), why, work).inspect_err(|_| {
        println!("   {}", bold("The demonstration ends here."));
    })
}
