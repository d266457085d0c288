//! The canonical request (AWS "Create a canonical request"), up to the payload hash.

use super::limits::SIGNED_HEADERS_LIMIT;

/// The headers of a request as received: lower-case names, raw values. Over HTTP/2 the caller adds `host` from
/// `:authority`.
pub struct Headers<'a> {
    fields: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Headers<'a> {
    /// From names in lower case and values as received, repeated ones repeated.
    pub fn new(fields: Vec<(&'a str, &'a [u8])>) -> Headers<'a> {
        Headers { fields }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        self.fields.iter().copied()
    }

    /// The value of a header that is present exactly once.
    pub fn once(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.fields.iter().filter(|(n, _)| *n == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(*value)
    }
}

/// Everything of the canonical request before the payload hash; `None` when the signed names are unsorted, repeated,
/// not present exactly once, or miss `host` or `x-amz-date`. The path is its own canonical URI, by the grammar of
/// [`crate::target`], and there is no query.
pub(super) fn request_without_payload(
    method: &str,
    path: &str,
    headers: &Headers<'_>,
    signed_headers: &str,
) -> Option<Vec<u8>> {
    if signed_headers.len() > SIGNED_HEADERS_LIMIT {
        return None;
    }
    let mut out = Vec::with_capacity(512 + 2 * signed_headers.len());
    out.extend_from_slice(method.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b"\n\n");
    let (mut previous, mut host, mut date) = ("", false, false);
    for name in signed_headers.split(';') {
        // Sorted and unique; an empty name isn't greater than the empty start.
        if name <= previous {
            return None;
        }
        previous = name;
        host |= name == "host";
        date |= name == "x-amz-date";
        let value = headers.once(name)?;
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        push_canonical_value(&mut out, value);
        out.push(b'\n');
    }
    if !(host && date) {
        return None;
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.as_bytes());
    out.push(b'\n');
    Some(out)
}

/// Leading and trailing blanks removed, runs of blanks made one space.
fn push_canonical_value(out: &mut Vec<u8>, value: &[u8]) {
    let start = out.len();
    let mut blank = false;
    for &b in value {
        if matches!(b, b' ' | b'\t') {
            blank = true;
            continue;
        }
        if blank && out.len() > start {
            out.push(b' ');
        }
        blank = false;
        out.push(b);
    }
}
