//! How long a token lives, in the ways in which servers say it.

use std::time::{Duration, SystemTime};

use serde_json::Value;

/// A length of time in seconds, as a number, a float or a string of either. Negative is zero; anything else is absent.
pub(super) fn seconds(value: &Value) -> Option<Duration> {
    if let Some(seconds) = value.as_u64() {
        return Some(Duration::from_secs(seconds));
    }
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    if seconds.is_nan() {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

/// What is left at `now` until an end: seconds since 1970, as [`seconds`], or a string with an HTTP date or one of
/// [RFC 3339]. It is zero if the end is past.
///
/// [RFC 3339]: https://www.rfc-editor.org/rfc/rfc3339
pub(super) fn left_until(end: &Value, now: SystemTime) -> Option<Duration> {
    let end = match seconds(end) {
        // A length of time, or another unit.
        Some(since_1970) if !PLAUSIBLE_ENDS.contains(&since_1970.as_secs()) => return None,
        Some(since_1970) => SystemTime::UNIX_EPOCH.checked_add(since_1970)?,
        None => date(end.as_str()?.trim())?,
    };
    Some(end.duration_since(now).unwrap_or_default())
}

/// 2001 to 5138, in seconds since 1970.
const PLAUSIBLE_ENDS: std::ops::Range<u64> = 1_000_000_000..100_000_000_000;

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text)
        .ok()
        .or_else(|| rfc_3339(text))
}

/// `2026-11-25T10:00:00.5+01:00`. A date without an offset is absent: it may be in any time zone.
fn rfc_3339(text: &str) -> Option<SystemTime> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (hour, rest) = number(rest.strip_prefix(['T', 't', ' '])?, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    let (second, mut rest) = number(rest.strip_prefix(':')?, 2)?;
    let is_date = (1970..).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, rest) = number(&rest[1..], 2)?;
            let (minutes, rest) = number(rest.strip_prefix(':').unwrap_or(rest), 2)?;
            if !rest.is_empty() {
                return None;
            }
            sign * (hours * 60 + minutes)
        }
    };
    let seconds =
        days_since_1970(year, month, day) * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    let seconds = u64::try_from(seconds).ok().filter(|_| is_date)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The number that the first `digits` characters are, and the rest.
fn number(text: &str, digits: usize) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((number.parse().ok().filter(|_| is_number)?, rest))
}

/// In the Gregorian calendar, whose years begin in March here, so that a leap day is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719,468 days lie between 1 March of the year 0 and 1970.
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn an_end_is_seconds_since_1970_or_a_date() {
        // Ten minutes before.
        let now = at(1_795_600_800);
        for end in [
            json!(1_795_601_400),
            json!(1_795_601_400.0),
            json!("1795601400"),
            json!(" 1795601400 "),
            json!("Wed, 25 Nov 2026 10:10:00 GMT"),
            json!("2026-11-25T10:10:00Z"),
            json!("2026-11-25T10:10:00.000000Z"),
            json!("2026-11-25 10:10:00Z"),
            json!("2026-11-25T11:10:00+01:00"),
            json!("2026-11-25T05:40:00-0430"),
        ] {
            let left = left_until(&end, now);
            assert_eq!(left, Some(Duration::from_secs(600)), "{end}");
        }
        assert_eq!(left_until(&json!(1_795_600_000), now), Some(Duration::ZERO));
        for end in [
            json!(3600),
            json!("3600"),
            json!(-1),
            // In milliseconds.
            json!(1_795_601_400_000_u64),
            json!(u64::MAX),
            json!("1e400"),
            json!(""),
            json!("soon"),
            json!("2026-11-25"),
            json!("2026-11-25T10:10:00"),
            json!("2026-13-25T10:10:00Z"),
            json!("2026-00-25T10:10:00Z"),
            json!("2026-11-32T10:10:00Z"),
            json!("2026-11-25T24:10:00Z"),
            json!("2026-11-25T10:10:00+1"),
            json!("2026-11-25T10:10:00Z ".repeat(2)),
            json!("+026-11-25T10:10:00Z"),
            json!("1969-12-31T23:59:59Z"),
            json!("2026-11-25T10:10:00é"),
            json!("9/14/2017 00:00:00 AM +00:00"),
            json!(null),
            json!([1_795_601_400]),
        ] {
            assert_eq!(left_until(&end, now), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_second_is_the_same_in_rfc_3339_as_in_an_http_date(seconds in 0..253_402_300_800_u64) {
            let date = at(seconds);
            let http = httpdate::fmt_http_date(date);
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month = months.find(&http[8..11]).unwrap() / 3 + 1;
            let text = format!("{}-{month:02}-{}T{}Z", &http[12..16], &http[5..7], &http[17..25]);
            prop_assert_eq!(rfc_3339(&text), Some(date));
        }

        #[test]
        fn any_text_is_a_date_or_none(text in "\\PC{0,40}|[0-9TZ:+. -]{0,30}") {
            let _ = date(&text);
        }
    }
}
