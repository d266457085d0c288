//! JSON read strictly: one value, no name twice in an object at any level, bounded depth, nothing after it.
//!
//! Two readers that differ on duplicate names or trailing bytes see different requests in the same signed bytes; so
//! whatever is ambiguous is refused. The syntax is `serde_json`'s, which refuses lone surrogates and control
//! characters in strings.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The deepest nesting that is read; a request of the specification has 2 levels.
pub const DEPTH_LIMIT: usize = 16;

/// A JSON value, borrowing from the text where it holds no escapes.
#[derive(Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number.
    Number(serde_json::Number),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object, in the order of the text.
    Object(Object<'a>),
}

/// The members of an object, names unique, in the order of the text.
pub type Object<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// Why a text is not one strict JSON object. Positions only, never content: the text may hold plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrictFault {
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    Utf8,
    /// Not JSON, or a name twice, or too deep, or something after the value.
    #[error("the body is not one JSON object without repeated names (line {line}, column {column})")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("the body must be a JSON object")]
    NotAnObject,
}

/// Reads one object.
pub fn object(bytes: &[u8]) -> Result<Object<'_>, StrictFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| StrictFault::Utf8)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Seed { depth: 0 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|e| StrictFault::Syntax { line: e.line(), column: e.column() })?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(StrictFault::NotAnObject),
    }
}

/// The member called `name`.
pub fn get<'v, 'a>(object: &'v Object<'a>, name: &str) -> Option<&'v Value<'a>> {
    object.iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

impl Value<'_> {
    /// The text of a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as JSON text.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => out.push_str(&number.to_string()),
            Value::Text(text) => write_text(out, text),
            Value::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_text(out, name);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends `text` as a JSON string.
pub fn write_text(out: &mut String, text: &str) {
    out.push('"');
    // Nearly every text is printable ASCII without anything to escape, which is seen many bytes at a time.
    let plain = |b: u8| matches!(b, 0x20..=0x7e) & (b != b'"') & (b != b'\\');
    if text.bytes().fold(true, |all, b| all & plain(b)) {
        out.push_str(text);
        out.push('"');
        return;
    }
    // In runs: nearly every text is one run without anything to escape.
    let mut start = 0;
    for (at, c) in text.char_indices() {
        if matches!(c, '"' | '\\') || misleads(c) {
            out.push_str(&text[start..at]);
            write_escape(out, c);
            start = at + c.len_utf8();
        }
    }
    out.push_str(&text[start..]);
    out.push('"');
}

/// How many bytes [`write_text`] writes for a character.
pub(crate) fn escaped_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if misleads(c) => 6,
        c => c.len_utf8(),
    }
}

/// What breaks lines or terminals, turns the direction of writing, or can't be seen. Logs are read by people. None is
/// above U+FFFF.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn write_escape(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            out.push_str("\\u");
            for shift in [12, 8, 4, 0] {
                out.push(char::from(DIGITS[(u32::from(c) >> shift) as usize & 15]));
            }
        }
    }
}

struct Seed {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.depth < DEPTH_LIMIT { Ok(self.depth + 1) } else { Err(E::custom("nested too deep")) }
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'de>, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let depth = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Seed { depth })? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let depth = self.deeper()?;
        // Room in advance for the outermost only: thousands of empty ones inside would take 100 times their text.
        let mut object: Object<'de> = Vec::with_capacity(if depth == 1 { 8 } else { 0 });
        while let Some(name) = members.next_key_seed(Name)? {
            object.push((name, members.next_value_seed(Seed { depth })?));
        }
        if has_repeated_name(&object) {
            return Err(A::Error::custom("a name stands twice in one object"));
        }
        Ok(Value::Object(object))
    }
}

/// Quadratic where that is cheapest, sorted where an attacker could make it expensive.
fn has_repeated_name(object: &Object<'_>) -> bool {
    if object.len() <= 16 {
        return object.iter().enumerate().any(|(i, (name, _))| object[..i].iter().any(|(n, _)| n == name));
    }
    let mut names: Vec<&str> = object.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
