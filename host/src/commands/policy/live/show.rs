//! What the host answered, for people.

use crate::admin::protocol::Outcome;
use crate::commands::when;
use crate::commands::{CommandError, Output};
use holdfast_policy::life::ShadowCounts;
use holdfast_policy::life::{Activated, Checked, KeyStoreStanding, StageReport, Standing};
use holdfast_policy::life::{Activation, Cause, Staged};

/// Digits of a digest that are shown in tables.
const SHORT: usize = 12;
/// Differences of a shadow that are shown.
const GROUPS: usize = 20;

pub fn show(outcome: &Outcome, output: &mut Output) -> Result<(), CommandError> {
    match outcome {
        Outcome::Staged(report) => staged(report, output),
        Outcome::Activated(activated) => changed(activated, output),
        Outcome::Shadowed(key_stores) => {
            Ok(output.line(format_args!("changed for {}", key_stores.join(", ")))?)
        }
        Outcome::Status(standing) => status(standing, output),
        Outcome::History(history) => {
            for (key_store, activations) in history {
                output.line(format_args!("key store {key_store}"))?;
                let rows = activations.iter().map(row);
                output.table(["ACTIVATION", "TIME", "POLICY", "CAUSE", "BY", "FAILED"], rows)?;
            }
            Ok(())
        }
    }
}

fn staged(report: &StageReport, output: &mut Output) -> Result<(), CommandError> {
    let StageReport { staged, checked, milliseconds } = report;
    let Checked { engine, rules, tests, uncovered_rules, decision, .. } = checked;
    output.line(format_args!("staged {} in {:.1} s", called(staged), milliseconds / 1000.0))?;
    output.line(format_args!(
        "{engine}, {} rules, {tests} tests passed, {decision:.3} ms a decision",
        rules.len()
    ))?;
    match &staged.signer {
        Some(key) => output.line(format_args!("signed by key {key}"))?,
        None => output.line("not signed")?,
    }
    if !uncovered_rules.is_empty() {
        output.line(format_args!("no test reaches: {}", uncovered_rules.join(", ")))?;
    }
    Ok(output.line(format_args!("activate it with: holdfast policy activate {}", short(&staged.artefact)))?)
}

fn changed(activated: &Activated, output: &mut Output) -> Result<(), CommandError> {
    for change in &activated.changes {
        output.line(format_args!(
            "key store {}: activation {}, {}",
            change.key_store,
            change.activation,
            policy(change.artefact.as_deref())
        ))?;
    }
    Ok(output.line(format_args!("in force after {:.1} ms", activated.milliseconds))?)
}

fn status(standing: &Standing, output: &mut Output) -> Result<(), CommandError> {
    let rows = standing.key_stores.iter().map(|store| {
        let decides = if store.decides { "decides" } else { "REFUSES ALL" };
        [
            store.key_store.clone(),
            decides.to_owned(),
            store.activation.to_string(),
            policy(store.artefact.as_deref()),
            store.engine.clone(),
            store.rules.to_string(),
            store.failures.to_string(),
        ]
    });
    output.table(["KEY STORE", "STATE", "ACTIVATION", "POLICY", "ENGINE", "RULES", "FAILURES"], rows)?;
    for store in &standing.key_stores {
        details(store, output)?;
    }
    if !standing.staged.is_empty() {
        output.line("")?;
        let rows = standing.staged.iter().map(|staged| {
            let signer = staged.signer.as_deref().unwrap_or("nobody");
            let trust = if standing.untrusted.contains(&staged.artefact) { ", not trusted now" } else { "" };
            [
                short(&staged.artefact).to_owned(),
                staged.name.clone().unwrap_or_default(),
                staged.engine.clone(),
                staged.rules.to_string(),
                format!("{signer}{trust}"),
                when::show(staged.time),
            ]
        });
        output.table(["STAGED", "NAME", "ENGINE", "RULES", "SIGNED BY", "TIME"], rows)?;
    }
    Ok(())
}

fn details(store: &KeyStoreStanding, output: &mut Output) -> Result<(), CommandError> {
    let name = &store.key_store;
    if let Some(why) = &store.why {
        output.line(format_args!("{name}: {why}"))?;
    }
    if let Some(why) = &store.untrusted {
        output.line(format_args!(
            "{name}: NOT TRUSTED NOW, and in force until another one is activated: {why}"
        ))?;
    }
    if let Some(watched) = &store.watched {
        output.line(format_args!(
            "{name}: {} of {} failing decisions; watched for {} s more",
            watched.failures, watched.limit, watched.seconds
        ))?;
    }
    if let Some((artefact, counts)) = &store.shadow {
        shadow(name, artefact, counts, output)?;
    }
    Ok(())
}

fn shadow(
    name: &str,
    artefact: &str,
    counts: &ShadowCounts,
    output: &mut Output,
) -> Result<(), CommandError> {
    let decisions: Vec<String> = counts
        .decisions
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    output.line(format_args!(
        "{name}: shadow {}: {}, {} dropped",
        short(artefact),
        if decisions.is_empty() { "nothing yet".to_owned() } else { decisions.join(", ") },
        counts.dropped
    ))?;
    let rows = counts.groups.iter().take(GROUPS).map(|(group, count)| {
        [
            count.to_string(),
            group.difference.name().to_owned(),
            group.operation.clone(),
            group.key_id.clone(),
            group.principal.clone(),
            group.rules.join(", "),
            group.candidate_rules.join(", "),
        ]
    });
    if !counts.groups.is_empty() {
        output.table(["COUNT", "DIFFERENCE", "OPERATION", "KEY", "PRINCIPAL", "RULES", "ITS RULES"], rows)?;
    }
    Ok(())
}

fn row(activation: &Activation) -> [String; 6] {
    let cause = match activation.cause {
        Cause::Activate => "activate",
        Cause::Rollback => "rollback",
        Cause::AutomaticRollback => "automatic rollback",
    };
    [
        activation.number.to_string(),
        when::show(activation.time),
        policy(activation.artefact.as_deref()),
        cause.to_owned(),
        activation.by.clone(),
        activation.failed.clone().unwrap_or_default(),
    ]
}

fn called(staged: &Staged) -> String {
    match &staged.name {
        Some(name) => format!("{name} ({})", short(&staged.artefact)),
        None => staged.artefact.clone(),
    }
}

fn policy(artefact: Option<&str>) -> String {
    artefact.map_or_else(|| "configuration".to_owned(), |artefact| short(artefact).to_owned())
}

fn short(digest: &str) -> &str {
    digest.get(..SHORT).unwrap_or(digest)
}
