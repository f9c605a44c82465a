//! Time: Unix milliseconds, and the only place that reads the system's clock. Rules take the time as an argument.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// The allowed difference between the clocks of two machines, in tokens, sessions and signatures of other parties.
pub const SKEW: Duration = Duration::from_secs(60);

/// Unix time in milliseconds, the unit of every table, token and file of Bulla.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time: 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// A time from Unix milliseconds. Negative values are times before 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The Unix milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// This time plus `by`, which is cut to whole milliseconds. Saturates at the greatest time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time minus `by`, which is cut to whole milliseconds. Saturates at the least time.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with seconds: `2026-11-20T19:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1000);
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
    }
}

/// The text is not a time of the form `2026-11-20T19:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the form 2026-11-20T19:00:00Z")]
pub struct BadTime;

impl FromStr for Timestamp {
    type Err = BadTime;

    /// Parses the form that [`Display`](fmt::Display) writes, and no other form.
    fn from_str(text: &str) -> Result<Self, BadTime> {
        let digits = |range: std::ops::Range<usize>| {
            text.get(range).and_then(|part| part.parse::<i64>().ok()).ok_or(BadTime)
        };
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let (h, m, s) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
        let days = days_since_epoch(year, month, day);
        let time = Self((((days * 24 + h) * 60 + m) * 60 + s) * 1000);
        // The text must equal the formatted time. This refuses impossible dates and other forms.
        if time.to_string() == text { Ok(time) } else { Err(BadTime) }
    }
}

/// The inverse of [`civil`].
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Days since 1970-01-01 as (year, month, day) of the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that the leap day ends a year (Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A source of time. Rules take a [`Timestamp`]; only the code around them holds a clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The time since the machine was started, sleep included. Setting the system's clock doesn't change it.
pub fn since_boot() -> Duration {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(up.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(up.tv_nsec).unwrap_or_default())
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the only place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339() {
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_millis(951_782_400_000).to_string(), "2000-02-29T00:00:00Z");
        assert_eq!(Timestamp::from_millis(1_790_000_000_000).to_string(), "2026-09-21T14:13:20Z");
    }

    #[test]
    fn a_time_is_parsed_as_it_was_formatted_and_other_spellings_are_refused() {
        for seconds in (0..4_000_000_000i64).step_by(86_399 * 37) {
            let time = Timestamp::from_millis(seconds * 1000);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        for bad in [
            "",
            "2026-11-20",
            "2026-11-20T19:00:00",
            "2026-11-20T19:00:00z",
            "2026-11-20t19:00:00Z",
            "2026-11-20T19:00:00.0Z",
            "2026-11-20T19:00:60Z",
            "2026-11-20T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "+026-11-20T19:00:00Z",
            "2026-+1-20T19:00:00Z",
            "2026-11-20T19:00:00Zé",
            "２０26-11-20T19:00:00Z",
        ] {
            assert_eq!(bad.parse::<Timestamp>(), Err(BadTime), "{bad}");
        }
    }

    #[test]
    fn a_negative_age_is_zero() {
        assert_eq!(Timestamp::from_millis(5).since(Timestamp::from_millis(9)), Duration::ZERO);
    }
}
