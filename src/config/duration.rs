//! Parses and formats durations in settings and flags: `10s`, `2m`, `1h`, `7d`.

use std::time::Duration;

/// Parses a whole number with a unit: `ms`, `s`, `m`, `h` or `d`. The error says which form is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => {
            return Err(format!(
                "`{text}` is not a duration; write a number and a unit, for example 500ms, 10s, 2m, 1h or 7d"
            ));
        }
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(millis_per_unit))
        // The limit of a century keeps every sum of times in range.
        .filter(|millis| *millis <= 100 * 366 * 86_400_000)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!(
                "`{text}` is not a duration of at most 100 years; write a number and a unit, for \
            example 500ms, 10s, 2m, 1h or 7d"
            )
        })
}

/// Formats a duration in its largest two units: `2h 5m`, `41s`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (d, h, m, s) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit} {small}{small_unit}"),
    };
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => two(m, "m", s, "s"),
        (0, _, _) => two(h, "h", m, "m"),
        _ => two(d, "d", h, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        let seconds = |text| parse_duration(text).map(|d| d.as_secs());
        assert_eq!(seconds("10s"), Ok(10));
        assert_eq!(seconds("2m"), Ok(120));
        assert_eq!(seconds("0s"), Ok(0));
        assert_eq!(seconds("7d"), Ok(7 * 86_400));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in [
            "",
            "10",
            "s",
            "-1s",
            "+1s",
            "1.5h",
            "1 h",
            "1h ",
            "1w",
            "99999999999999999999s",
            "40000d",
            "１s",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_is_written_in_its_largest_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (61, "1m 1s"),
            (7500, "2h 5m"),
            (86_400, "1d"),
            (90_061, "1d 1h"),
        ] {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
    }
}
