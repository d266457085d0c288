//! The times of SigV4: `YYYYMMDDTHHMMSSZ`, UTC.

/// Of `YYYYMMDDTHHMMSSZ`, in bytes.
pub const DATE_TIME_LENGTH: usize = 16;

/// Seconds since 1970-01-01T00:00:00Z; `None` for another form, a date that doesn't exist, or one before 1970.
pub fn parse_date_time(text: &[u8; DATE_TIME_LENGTH]) -> Option<u64> {
    if text[8] != b'T' || text[15] != b'Z' {
        return None;
    }
    let number = |at: std::ops::Range<usize>| {
        text[at].iter().try_fold(0u64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if year < 1970 || !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The text for a time in seconds since 1970; years past 9999 are not expected of a clock and wrap to their last digits.
pub fn format_date_time(seconds: u64) -> String {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970 + days / 366;
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    days -= days_before(year, 1, 1);
    let mut month = 1;
    while days >= days_of(year, month) {
        days -= days_of(year, month);
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}Z", year % 10_000, days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the date.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let leaps = |y: u64| y / 4 - y / 100 + y / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|m| days_of(year, m)).sum::<u64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_instants() {
        for (text, seconds) in [
            (b"19700101T000000Z", 0),
            (b"20000229T235959Z", 951_868_799),
            (b"20150830T123600Z", 1_440_938_160),
            (b"20380119T031408Z", 2_147_483_648),
        ] {
            assert_eq!(parse_date_time(text), Some(seconds));
            assert_eq!(format_date_time(seconds).as_bytes(), text);
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            b"20230229T000000Z",
            b"20231301T000000Z",
            b"20230100T000000Z",
            b"20230101T240000Z",
            b"19691231T235959Z",
            b"2023010100000000",
            b"+0230101T000000Z",
        ] {
            assert_eq!(parse_date_time(text), None);
        }
    }

    proptest! {
        #[test]
        fn formatting_and_parsing_agree(seconds in 0u64..253_402_300_800) {
            let text: [u8; DATE_TIME_LENGTH] = format_date_time(seconds).into_bytes().try_into().unwrap();
            prop_assert_eq!(parse_date_time(&text), Some(seconds));
        }
    }
}
