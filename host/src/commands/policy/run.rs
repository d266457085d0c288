//! `holdfast policy run`.

use std::io::Read;
use std::path::PathBuf;

use holdfast_gate::query::{Decision, Effect, Query};
use serde::Serialize;

use super::opened::{Opened, Place, block_on};
use crate::commands::{CommandError, Output, Usage};
use holdfast_policy::Policy;
use holdfast_policy::artefact::{Question, Recorded};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A query is JSON by the names that rules use, or a record of the audit log as it is. What is left out
has the defaults of test cases. Options go before what the query says. Exit code 1 where the answer is no.

Examples:
  holdfast policy run payments --operation Decrypt --key cards \\
      --principal arn:aws:sts::111122223333:assumed-role/Payments/s
  grep AccessDenied audit.jsonl | tail -1 | holdfast policy run payments --query -")]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The query, a JSON file; - is the standard input
    #[arg(long, value_name = "FILE")]
    query: Option<PathBuf>,
    /// GetKeyMetadata, Encrypt or Decrypt
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// awsPrincipalArn
    #[arg(long, value_name = "ARN")]
    principal: Option<String>,
    /// The external key id
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// The key store's name
    #[arg(long, value_name = "NAME")]
    key_store: Option<String>,
    /// kmsViaService
    #[arg(long, value_name = "NAME")]
    via_service: Option<String>,
    /// awsSourceVpc
    #[arg(long, value_name = "ID")]
    source_vpc: Option<String>,
    /// awsSourceVpce
    #[arg(long, value_name = "ID")]
    source_vpce: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("can't read the query {path}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the query isn't JSON as described in docs/policies.md: {0}")]
    Json(serde_json::Error),
    #[error("denied")]
    Denied,
}

/// What is answered.
#[derive(Serialize)]
struct Answer<'a> {
    effect: &'static str,
    rules: &'a [String],
    errors: &'a [String],
    message: Option<&'a str>,
    /// The facts that the decision can depend on.
    reads: &'a [&'static str],
    policy: &'a str,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<(), CommandError> {
    let query = query(arguments)?;
    let opened = Opened::read(&arguments.place.path)?;
    let (decision, reads) = block_on(async {
        let policy = opened.load(&arguments.place.path, 0).await?;
        let decision = policy.decide(&query).await?;
        Ok((decision, policy.identity().reads.clone()))
    })?;
    let allow = decision.effect == Effect::Allow;
    let answer = Answer {
        effect: if allow { "allow" } else { "deny" },
        rules: &decision.rules,
        errors: &decision.errors,
        message: decision.message.as_deref(),
        reads: &reads,
        policy: &opened.digest,
    };
    match arguments.json {
        true => output.json(&answer)?,
        false => show(&decision, &answer, output)?,
    }
    if allow { Ok(()) } else { Err(RunError::Denied.into()) }
}

fn show(decision: &Decision, answer: &Answer<'_>, output: &mut Output) -> Result<(), CommandError> {
    output.line(answer.effect)?;
    match decision.rules.as_slice() {
        [] => output.line("  because no rule applied")?,
        rules => {
            for rule in rules {
                output.line(format_args!("  by rule {rule}"))?;
            }
        }
    }
    for error in &decision.errors {
        output.line(format_args!("  error: {error}"))?;
    }
    if let Some(message) = &decision.message {
        output.line(format_args!("  message: {message}"))?;
    }
    match answer.reads {
        [] => output.line("  reads nothing of the request")?,
        reads => output.line(format_args!("  reads {}", reads.join(", ")))?,
    }
    Ok(())
}

/// Arguments go before what the file says.
fn query(arguments: &Arguments) -> Result<Query, CommandError> {
    let asked = Question {
        operation: arguments.operation.clone(),
        principal: arguments.principal.clone(),
        key: arguments.key.clone(),
        key_store: arguments.key_store.clone(),
        via_service: arguments.via_service.clone(),
        source_vpc: arguments.source_vpc.clone(),
        source_vpce: arguments.source_vpce.clone(),
        ..Question::default()
    };
    let Some(path) = &arguments.query else {
        if asked.operation.is_none() {
            return Err(
                Usage("what is asked? Give --operation, or a query by --query FILE".to_owned()).into()
            );
        }
        return Ok(asked.query()?);
    };
    let text = match path.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => std::fs::read_to_string(path),
    };
    let text = text.map_err(|source| RunError::Unreadable { path: path.clone(), source })?;
    if let Some(Recorded { query, .. }) = Recorded::read(text.trim().as_bytes()).map_err(RunError::Json)? {
        return Ok(asked.over(query)?);
    }
    let question: Question = serde_json::from_str(&text).map_err(RunError::Json)?;
    Ok(asked.or(&question).query()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use holdfast_gate::query::Operation;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn options_go_before_a_record_and_before_a_query() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("query.json");
        let record = r#"{"operation":"Decrypt","keyStore":"demo","keyId":"a","requestMetadata":
            {"awsPrincipalArn":"someone","kmsOperation":"Decrypt","kmsRequestId":"r"}}"#;
        for text in [record, r#"{"operation":"Decrypt","keyStore":"demo","key":"a","principal":"someone"}"#] {
            std::fs::write(&path, text).unwrap();
            let words = ["run", "--key", "b", "--principal", "another", "--query", path.to_str().unwrap()];
            let asked = query(&Command::parse_from(words).arguments).unwrap();
            assert_eq!((asked.key_id.as_str(), asked.principal_text.as_str()), ("b", "another"), "{text}");
            assert_eq!((asked.key_store.as_str(), asked.operation), ("demo", Operation::Decrypt), "{text}");
        }
    }
}
