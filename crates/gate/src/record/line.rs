//! A line of the audit log, whose length is bounded whatever a request says.

use crate::strict::{escaped_len, write_text};
use sha2::{Digest, Sha256};

/// The version of the records' schema; docs/operations.md describes it.
const SCHEMA: u32 = 1;

/// A JSON object on one line, written member by member, `schema` first.
pub struct Line {
    text: String,
    /// Members that weren't written whole, and the digest of what they were.
    cut: Option<(Vec<String>, Sha256)>,
}

impl Line {
    /// With the schema's version.
    pub fn start() -> Line {
        let mut line = Line { text: String::with_capacity(1024), cut: None };
        line.text.push_str("{\"schema\":");
        line.text.push_str(&SCHEMA.to_string());
        line
    }

    fn name(&mut self, name: &str) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        write_text(&mut self.text, name);
        self.text.push(':');
    }

    /// A member whose value is JSON already.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.text.push_str(json);
    }

    /// A member that is a string.
    pub fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_text(&mut self.text, text);
    }

    /// A member of at most so many bytes; what is longer is cut, and named in `cut`.
    pub fn bounded(&mut self, name: &str, text: &str, most: usize) {
        let whole = prefix(text, most);
        self.text(name, whole);
        if whole.len() < text.len() {
            self.cuts(name, text);
        }
    }

    /// The same, left out where there is none.
    pub fn optional_bounded(&mut self, name: &str, text: Option<&str>, most: usize) {
        if let Some(text) = text {
            self.bounded(name, text, most);
        }
    }

    /// Members of an object, as many as have room in so many bytes.
    pub(super) fn members(&mut self, name: &str, members: &[(String, String)], most: usize) {
        self.open(name);
        let begun = self.text.len();
        let mut is_whole = true;
        for (name, value) in members {
            let left = most.saturating_sub(self.text.len() - begun);
            // Quotes, colon, comma; a name or value of nothing but escapes is six times as long.
            let fits = is_whole && (name.len() + value.len() + 6 <= left) && {
                let before = self.text.len();
                self.text(name, value);
                let fitted = self.text.len() - begun <= most;
                if !fitted {
                    self.text.truncate(before);
                }
                fitted
            };
            is_whole &= fits;
        }
        self.close();
        if !is_whole {
            let mut whole = Vec::new();
            for (name, value) in members {
                for part in [name, value] {
                    whole.extend_from_slice(&(part.len() as u64).to_be_bytes());
                    whole.extend_from_slice(part.as_bytes());
                }
            }
            self.cuts_bytes(name, &whole);
        }
    }

    fn cuts(&mut self, name: &str, whole: &str) {
        self.cuts_bytes(name, whole.as_bytes());
    }

    fn cuts_bytes(&mut self, name: &str, whole: &[u8]) {
        let (names, digest) = self.cut.get_or_insert_default();
        names.push(name.to_owned());
        digest.update(whole);
    }

    /// A member that is left out where there is none.
    pub fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// A list, of as many as have room in so many bytes.
    pub(super) fn texts(&mut self, name: &str, texts: &[String], most: usize) {
        self.name(name);
        self.text.push('[');
        let begun = self.text.len();
        for (i, text) in texts.iter().enumerate() {
            let before = self.text.len();
            if i > 0 {
                self.text.push(',');
            }
            write_text(&mut self.text, prefix(text, most));
            if self.text.len() - begun > most {
                self.text.truncate(before);
                self.cuts(name, &texts.join("\n"));
                break;
            }
        }
        self.text.push(']');
    }

    pub(super) fn open(&mut self, name: &str) {
        self.name(name);
        self.text.push('{');
    }

    pub(super) fn close(&mut self) {
        self.text.push('}');
    }

    /// The line, with its line feed.
    pub fn finish(mut self) -> String {
        if let Some((names, digest)) = self.cut.take() {
            let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            self.open("cut");
            self.texts("members", &names, 512);
            self.text("sha256", &digest);
            self.close();
        }
        self.text.push_str("}\n");
        self.text
    }
}

/// As much of a text as takes at most so many bytes when it is written.
fn prefix(text: &str, most: usize) -> &str {
    if text.len() * 6 <= most {
        return text;
    }
    let mut length = 0;
    for (at, c) in text.char_indices() {
        length += escaped_len(c);
        if length > most {
            return &text[..at];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: Line) -> serde_json::Value {
        serde_json::from_str(&line.finish()).unwrap()
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_character_and_told_with_its_digest() {
        let mut line = Line::start();
        line.bounded("short", "whole", 10);
        line.bounded("long", "\u{e9}\u{e9}\u{e9}\u{e9}", 5);
        let read = read(line);
        assert_eq!((&read["short"], &read["long"]), (&"whole".into(), &"\u{e9}\u{e9}".into()));
        let digest: String =
            Sha256::digest("\u{e9}\u{e9}\u{e9}\u{e9}").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(read["cut"], serde_json::json!({"members": ["long"], "sha256": digest}));
    }

    #[test]
    fn odd_characters_take_their_room() {
        for odd in ["\u{1}", "\"", "\\", "\u{2028}", "\n", "\u{1f600}", "a"] {
            let mut line = Line::start();
            line.bounded("text", &odd.repeat(10_000), 600);
            line.members("other", &[(odd.repeat(3000), odd.repeat(3000))], 600);
            line.texts("rules", &[odd.repeat(5000), odd.repeat(5000)], 600);
            let text = line.finish();
            assert!(text.len() < 2200, "{odd:?}: {}", text.len());
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
}
