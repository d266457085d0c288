//! What an HSM can do, and how fast.

use std::io::{IsTerminal, Write};

use holdfast_pkcs11::admin::{AdminError, Console, Speed};
use holdfast_pkcs11::module::{MechanismInfo, TokenInfo};
use serde::Serialize;

use super::super::{CommandError, Output};
use super::keys::{self, KeyReport};
use crate::config::Hsm;

#[derive(Serialize)]
struct ProbeReport {
    hsm: String,
    label: String,
    serial: String,
    manufacturer: String,
    model: String,
    firmware: String,
    session_limit: Option<usize>,
    mechanisms: Vec<String>,
    aes_gcm: GcmReport,
    message_functions: bool,
    keys: Vec<KeyReport>,
    /// `None` where the key to measure with isn't there.
    speed: Option<SpeedReport>,
}

#[derive(Serialize)]
struct GcmReport {
    encrypt: bool,
    decrypt: bool,
    hardware: bool,
}

#[derive(Serialize)]
struct SpeedReport {
    key: String,
    rounds: u32,
    encrypt_microseconds: f64,
    decrypt_microseconds: f64,
}

/// Probes an HSM, and shows what was found.
pub(super) fn run(
    console: &Console,
    hsm: &Hsm,
    key: Option<&str>,
    rounds: u32,
    json: bool,
    output: &mut Output,
) -> Result<(), CommandError> {
    let report = probe(console, hsm, key, rounds)?;
    if json { Ok(output.json(&report)?) } else { show(&report, output) }
}

fn probe(console: &Console, hsm: &Hsm, key: Option<&str>, rounds: u32) -> Result<ProbeReport, CommandError> {
    let keys = console.keys()?;
    let key = key.unwrap_or(&hsm.test_key);
    let speed = match keys.iter().any(|known| known.label == key) {
        true => Some(measure(console, hsm, key, rounds)?),
        false => None,
    };
    let TokenInfo { label, serial, manufacturer, model, firmware, session_limit, .. } =
        console.token().clone();
    let MechanismInfo { encrypt, decrypt, hardware, .. } = console.aes_gcm()?;
    Ok(ProbeReport {
        hsm: hsm.name.clone(),
        label,
        serial,
        manufacturer,
        model,
        firmware,
        session_limit,
        mechanisms: console.mechanisms()?.iter().map(|number| format!("{number:#x}")).collect(),
        aes_gcm: GcmReport { encrypt, decrypt, hardware },
        message_functions: console.has_message_functions(),
        keys: keys.iter().map(KeyReport::of).collect(),
        speed,
    })
}

fn measure(console: &Console, hsm: &Hsm, key: &str, rounds: u32) -> Result<SpeedReport, AdminError> {
    let shown = std::io::stderr().is_terminal();
    let Speed { encrypt, decrypt } = console.measure(&hsm.settings(), key, rounds, |done| {
        let step = (rounds / 50).max(1);
        if shown && (done.is_multiple_of(step) || done == rounds) {
            let filled = (u64::from(done) * 40 / u64::from(rounds)) as usize;
            // Only for the eye; nothing is lost when it can't be shown.
            let _ = write!(std::io::stderr(), "\rmeasuring [{:<40}] {done}/{rounds}", "=".repeat(filled));
        }
    })?;
    if shown {
        let _ = writeln!(std::io::stderr());
    }
    let microseconds = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    Ok(SpeedReport {
        key: key.to_owned(),
        rounds,
        encrypt_microseconds: microseconds(encrypt),
        decrypt_microseconds: microseconds(decrypt),
    })
}

fn show(report: &ProbeReport, output: &mut Output) -> Result<(), CommandError> {
    let yes = |is| if is { "yes" } else { "no" };
    let GcmReport { encrypt, decrypt, hardware } = report.aes_gcm;
    output.line(format_args!("token     {} (serial {})", report.label, report.serial))?;
    output.line(format_args!("model     {} {}, {}", report.model, report.firmware, report.manufacturer))?;
    output.line(format_args!(
        "AES-GCM   encrypts: {}, decrypts: {}, in hardware: {}",
        yes(encrypt),
        yes(decrypt),
        yes(hardware)
    ))?;
    output.line(format_args!("messages  functions of PKCS#11 3.0: {}", yes(report.message_functions)))?;
    output.line(format_args!("mechanisms {}", report.mechanisms.join(" ")))?;
    match &report.speed {
        Some(speed) => output.line(format_args!(
            "speed     {:.1} us an encryption of 32 bytes, {:.1} us a decryption, one thread, {} rounds with {}",
            speed.encrypt_microseconds, speed.decrypt_microseconds, speed.rounds, speed.key
        ))?,
        None => output.line("speed     not measured: the key to measure with isn't there; name one by --key")?,
    }
    output.line("")?;
    keys::table(&report.keys, output)
}
