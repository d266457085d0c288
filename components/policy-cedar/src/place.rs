//! Where in a file something is wrong.

use cedar_policy::ParseErrors;
use miette::Diagnostic;

use crate::{Problem, Source};

/// A problem with a whole file.
pub(crate) fn in_file(source: &Source, message: impl Into<String>) -> Problem {
    Problem { source: source.name.clone(), line: 0, column: 0, message: message.into() }
}

/// A problem at a byte offset of a file.
pub(crate) fn at_offset(source: &Source, offset: usize, message: impl Into<String>) -> Problem {
    let before = source.text.get(..offset).unwrap_or(&source.text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    Problem {
        source: source.name.clone(),
        line: u32::try_from(line).unwrap_or(0),
        column: u32::try_from(column).unwrap_or(0),
        message: message.into(),
    }
}

/// One of Cedar's errors, with its advice where it has some, at the place that it points to.
pub(crate) fn diagnostic(source: &Source, error: &dyn Diagnostic) -> Problem {
    let mut message = error.to_string();
    let mut labels = error.labels().into_iter().flatten();
    let label = labels.next();
    if let Some(text) = label.as_ref().and_then(|label| label.label()) {
        message = format!("{message}: {text}");
    }
    if let Some(help) = error.help() {
        message = format!("{message}; {help}");
    }
    match label {
        Some(label) => at_offset(source, label.offset(), message),
        None => in_file(source, message),
    }
}

/// All errors of a file that can't be read.
pub(crate) fn parse_errors(source: &Source, errors: &ParseErrors) -> Vec<Problem> {
    errors.iter().map(|error| diagnostic(source, error)).collect()
}
