//! Colours, on a terminal only.

use std::fmt::Display;
use std::io::IsTerminal;

fn paint(code: &str, text: impl Display) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_string()
    }
}

/// For headings.
pub fn bold(text: impl Display) -> String {
    paint("1", text)
}

/// For what may be passed over.
pub fn dim(text: impl Display) -> String {
    paint("2", text)
}

/// For what is as it should be.
pub fn good(text: impl Display) -> String {
    paint("32", text)
}

/// For what isn't.
pub fn bad(text: impl Display) -> String {
    paint("31", text)
}
