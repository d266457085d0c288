//! The standard output of a command. A closed pipe is an error value, never a panic.

use std::error::Error;
use std::fmt::{self, Display};
use std::io::{self, BufWriter, Write};

use serde::Serialize;

/// Where a command writes its results.
pub struct Output(BufWriter<Box<dyn Write>>);

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// The standard output didn't take what was written.
#[derive(Debug, thiserror::Error)]
#[error("can't write to the standard output")]
pub struct OutputError(#[from] io::Error);

impl OutputError {
    /// Whether the reader has gone, as in `holdfast key list | head -1`.
    pub fn is_closed_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

impl Output {
    /// The process's standard output.
    pub fn stdout() -> Self {
        Self(BufWriter::new(Box::new(io::stdout())))
    }

    /// Writes one line or several.
    pub fn line(&mut self, text: impl Display) -> Result<(), OutputError> {
        Ok(writeln!(self.0, "{text}")?)
    }

    /// Writes one JSON document, indented, and a newline.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), OutputError> {
        serde_json::to_writer_pretty(&mut self.0, value).map_err(io::Error::from)?;
        Ok(writeln!(self.0)?)
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        Ok(self.0.write_all(bytes)?)
    }

    /// Writes rows below their headings, in columns.
    pub fn table<const N: usize>(
        &mut self,
        headings: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), OutputError> {
        let mut rows: Vec<[String; N]> = rows.into_iter().collect();
        rows.insert(0, headings.map(str::to_owned));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; N] = std::array::from_fn(width);
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            self.line(cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.0.flush()?)
    }
}

/// Writes an error and its sources to the standard error.
pub fn complain(error: &(dyn Error + 'static)) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(io::stderr(), "holdfast: {}", with_sources(error));
}

/// An error and its sources, as far as it doesn't repeat them itself.
pub fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
