//! A policy's document, and what may be wrong with it.

/// One file of a policy's document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As the configuration names it.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// What is wrong with a document, and where. Lines and columns count from 1; 0 where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub source: String,
    /// The line in it.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.source, self.message),
            line => write!(f, "{}:{line}:{}: {}", self.source, self.column, self.message),
        }
    }
}
