//! Walks a TOML document and notes every problem with its place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong in a configuration file, and where.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// The configuration file.
    pub file: PathBuf,
    /// Counts from 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Such as `server.limits.budget` or `key_store[0].name`; empty for a syntax error.
    pub field: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// One problem a line.
pub fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Where each field that was read stands, by its name as in [`Problem::field`]: line and column, from 1.
pub type Places = BTreeMap<String, (usize, usize)>;

/// What was noted about a document.
pub struct Notes {
    /// In the file's order.
    pub problems: Vec<Problem>,
    /// In the file's order.
    pub warnings: Vec<Problem>,
    pub places: Places,
}

/// A document being read.
pub struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    places: RefCell<Places>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a Path, text: &'a str) -> Self {
        let (problems, warnings, places) = Default::default();
        Self { file, text, places, problems, warnings }
    }

    pub fn file(&self) -> &'a Path {
        self.file
    }

    /// Parses the TOML; syntax errors become problems.
    pub fn table(&self) -> Option<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            self.problems.borrow_mut().push(self.at(at, String::new(), error.message().to_owned()));
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// What was noted.
    pub fn into_notes(self) -> Notes {
        let sorted = |list: RefCell<Vec<Problem>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|problem| (problem.line, problem.column));
            list
        };
        Notes {
            problems: sorted(self.problems),
            warnings: sorted(self.warnings),
            places: self.places.into_inner(),
        }
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    fn entry(&'a self, path: String, value: &'a Spanned<DeValue<'a>>) -> Entry<'a> {
        self.places.borrow_mut().insert(path.clone(), self.place(value.span().start));
        Entry { reader: self, path, value }
    }

    fn at(&self, offset: usize, field: String, message: String) -> Problem {
        let (line, column) = self.place(offset);
        Problem { file: self.file.to_owned(), line, column, field, message }
    }
}

/// One table, of which each field is asked for once; [`Section::finish`] reports those that nobody asked for.
pub struct Section<'a> {
    reader: &'a Reader<'a>,
    path: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub fn root(reader: &'a Reader<'a>, table: &'a DeTable<'a>) -> Self {
        Self { reader, path: String::new(), span: 0..0, table, known: RefCell::default() }
    }

    /// The field, if it is there.
    pub fn get(&self, name: &'static str) -> Option<Entry<'a>> {
        self.known.borrow_mut().push(name);
        #[cfg(test)]
        super::documented::asked(&self.field(name));
        let (_, value) = self.table.get_key_value(name)?;
        Some(self.reader.entry(self.field(name), value))
    }

    /// The field; its absence is a problem.
    pub fn need(&self, name: &'static str) -> Option<Entry<'a>> {
        let entry = self.get(name);
        if entry.is_none() {
            self.problem_with(name, "is missing");
        }
        entry
    }

    /// The table of that name, if it is there.
    pub fn section(&self, name: &'static str) -> Option<Section<'a>> {
        self.get(name)?.section()
    }

    /// The table of that name; its absence is a problem.
    pub fn need_section(&self, name: &'static str) -> Option<Section<'a>> {
        self.need(name)?.section()
    }

    /// Notes a problem with a field that may be absent.
    pub fn problem_with(&self, name: &str, message: impl Into<String>) {
        let problem = self.reader.at(self.span.start, self.field(name), message.into());
        self.reader.problems.borrow_mut().push(problem);
    }

    /// Notes a problem with the whole table.
    pub fn problem(&self, message: impl Into<String>) {
        let problem = self.reader.at(self.span.start, self.path.clone(), message.into());
        self.reader.problems.borrow_mut().push(problem);
    }

    /// Notes something allowed that is probably not meant.
    pub fn warn(&self, message: impl Into<String>) {
        let warning = self.reader.at(self.span.start, self.path.clone(), message.into());
        self.reader.warnings.borrow_mut().push(warning);
    }

    /// Whether the field is there, without reading it.
    pub fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// All fields, of a table whose fields are named by whoever writes it.
    pub fn entries(&self) -> Vec<(&'a str, Entry<'a>)> {
        let table: &'a DeTable<'a> = self.table;
        let entry = |(name, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &'a std::borrow::Cow<'a, str> = name.get_ref();
            (name.as_ref(), self.reader.entry(self.field(name), value))
        };
        table.iter().map(entry).collect()
    }

    /// Reports the fields that nobody asked for.
    pub fn finish(self) {
        let known = self.known.borrow();
        for (name, _) in self.table.iter() {
            if !known.iter().any(|known| *known == name.get_ref().as_ref()) {
                let message = format!("unknown field; allowed: {}", known.join(", "));
                let problem = self.reader.at(name.span().start, self.field(name.get_ref()), message);
                self.reader.problems.borrow_mut().push(problem);
            }
        }
    }

    fn field(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// One field's value.
pub struct Entry<'a> {
    reader: &'a Reader<'a>,
    path: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Entry<'a> {
    /// Notes a problem with this value.
    pub fn problem(&self, message: impl Into<String>) {
        let problem = self.reader.at(self.value.span().start, self.path.clone(), message.into());
        self.reader.problems.borrow_mut().push(problem);
    }

    pub fn text(&self) -> Option<&'a str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            other => self.wrong_type(other, "a text in quotes"),
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            other => self.wrong_type(other, "true or false"),
        }
    }

    pub fn integer(&self, allowed: RangeInclusive<u64>) -> Option<u64> {
        let range = format!("a whole number from {} to {}", allowed.start(), allowed.end());
        let DeValue::Integer(integer) = self.value.get_ref() else {
            return self.wrong_type(self.value.get_ref(), &range);
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) if allowed.contains(&value) => Some(value),
            _ => {
                self.problem(format!("{integer} isn't {range}"));
                None
            }
        }
    }

    /// A text that `parse` turns into a value, whose error is the problem's message.
    pub fn parsed<T, E: fmt::Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.text()?).map_err(|error| self.problem(error.to_string())).ok()
    }

    /// A path, made relative to the configuration's folder.
    pub fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() {
            self.problem("is empty; a path is needed, relative to this file's folder or absolute");
            return None;
        }
        Some(self.reader.file.parent().unwrap_or(Path::new("")).join(text))
    }

    pub fn section(&self) -> Option<Section<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(Section {
                reader: self.reader,
                path: self.path.clone(),
                span: self.value.span(),
                table,
                known: RefCell::default(),
            }),
            other => self.wrong_type(other, "a table"),
        }
    }

    /// The items of an array.
    pub fn list(&self) -> Option<Vec<Entry<'a>>> {
        let DeValue::Array(array) = self.value.get_ref() else {
            return self.wrong_type(self.value.get_ref(), "a list in [brackets]");
        };
        let item = |(index, value)| self.reader.entry(format!("{}[{index}]", self.path), value);
        Some(array.iter().enumerate().map(item).collect())
    }

    fn wrong_type<T>(&self, found: &DeValue<'_>, wanted: &str) -> Option<T> {
        self.problem(format!("is a value of type {}; {wanted} is needed", found.type_str()));
        None
    }

    /// One of a few names, for what it stands.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let found = self.text()?;
        let chosen = choices.iter().find(|(name, _)| *name == found).map(|(_, value)| *value);
        if chosen.is_none() {
            let allowed: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            self.problem(format!("{found:?} isn't known; allowed: {}", allowed.join(", ")));
        }
        chosen
    }
}
