//! Today's date, for CKA_START_DATE and CKA_END_DATE.

use std::time::{SystemTime, UNIX_EPOCH};

/// Today in UTC as `YYYYMMDD`.
pub(crate) fn today() -> u32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    date(u32::try_from(seconds / 86_400).unwrap_or(0))
}

/// The date of a day counted from 1970-01-01, in the proleptic Gregorian calendar; years begin in March here, so that the
/// leap day is a year's last.
fn date(day: u32) -> u32 {
    let day = day + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    year * 10_000 + month * 100 + day_of_month
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), 19_700_101);
        assert_eq!(date(11_016), 20_000_229);
        assert_eq!(date(11_017), 20_000_301);
        assert_eq!(date(20_453), 20_251_231);
        assert_eq!(date(20_454), 20_260_101);
    }
}
