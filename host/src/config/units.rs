//! Durations, sizes and texts as people write them.

use std::ops::RangeInclusive;
use std::time::Duration;

/// `150ms`, `5s` or `2m`.
pub fn duration(text: &str, allowed: RangeInclusive<Duration>) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let milliseconds = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    let value = milliseconds
        .zip(number)
        .and_then(|(unit, number)| number.checked_mul(unit))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!("{text:?} isn't a duration; write a whole number and ms, s or m, such as \"150ms\"")
        })?;
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(format!(
        "{text} is out of range; from {} to {} is allowed",
        show(*allowed.start()),
        show(*allowed.end())
    ))
}

/// `512B`, `64KiB` or `1MiB`, in bytes.
pub fn size(text: &str, allowed: RangeInclusive<usize>) -> Result<usize, String> {
    let (number, unit) = split(text);
    let bytes = match unit {
        "B" => Some(1),
        "KiB" => Some(1024),
        "MiB" => Some(1024 * 1024),
        _ => None,
    };
    let value = bytes
        .zip(number)
        .and_then(|(unit, number)| number.checked_mul(unit))
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| {
            format!("{text:?} isn't a size; write a whole number and B, KiB or MiB, such as \"64KiB\"")
        })?;
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(format!("{text} is out of range; from {} to {} bytes is allowed", allowed.start(), allowed.end()))
}

/// A text that says something.
pub fn text(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".into()),
        text => Ok(text.to_owned()),
    }
}

fn split(text: &str) -> (Option<u64>, &str) {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number.parse().ok(), unit.trim_start())
}

fn show(duration: Duration) -> String {
    match duration.as_millis() {
        whole if whole % 1000 == 0 => format!("{}s", whole / 1000),
        milliseconds => format!("{milliseconds}ms"),
    }
}
