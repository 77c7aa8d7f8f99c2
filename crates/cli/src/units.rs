//! Numbers as people read them.

/// Writes a number of bytes: `68 B`, `24 KiB`, `3.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    // One decimal says something about small values only.
    if unit == 0 || value >= 10.0 || value.fract() < 0.05 {
        return format!("{value:.0} {}", UNITS[unit]);
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Writes a count with commas: `32,768`.
pub(crate) fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a count with its noun: `1 tensor`, `2 tensors`.
pub(crate) fn counted(value: usize, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(value))
}

/// Writes a small float the short way: `1.6e-2`, `0.25`, `448`.
pub(crate) fn float(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    if !(1e-1..1e6).contains(&value.abs()) {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    trimmed(format!("{value:.4}"))
}

/// Drops the zeros at the end of a fraction.
pub(crate) fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes a share of a whole in percent, without exponents: `0.0092 %`, `31 %`, `<0.0001 %`.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    match percent {
        percent if percent >= 10.0 || percent == 0.0 => format!("{percent:.0} %"),
        percent if percent < 1e-4 => "<0.0001 %".to_owned(),
        percent => {
            // Two significant digits.
            let decimals = 1 - percent.log10().floor() as i32;
            format!("{} %", trimmed(format!("{percent:.*}", usize::try_from(decimals).unwrap_or_default())))
        }
    }
}

/// Writes a shape: `[4, 64]`.
pub(crate) fn shape(sizes: &[usize]) -> String {
    format!("{sizes:?}")
}

/// Cuts the time of day out of a recorder's timestamp: `14:32:16.802`.
pub(crate) fn time_of_day(timestamp: &str) -> String {
    let digits = timestamp.as_bytes();
    if !callbox_core::name::is_timestamp(timestamp) {
        return timestamp.to_owned();
    }
    let part = |range: std::ops::Range<usize>| String::from_utf8_lossy(&digits[range]);
    format!("{}:{}:{}.{}", part(9..11), part(11..13), part(13..15), part(16..19))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_unit_and_at_most_one_decimal() {
        for (value, text) in [
            (0, "0 B"),
            (68, "68 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (24_576, "24 KiB"),
            (3_670_016, "3.5 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn counts_have_commas() {
        for (value, text) in [(0, "0"), (999, "999"), (32_768, "32,768"), (1_000_000, "1,000,000")] {
            assert_eq!(count(value), text);
        }
        assert_eq!((counted(1, "tensor"), counted(2, "tensor")), ("1 tensor".into(), "2 tensors".into()));
    }

    #[test]
    fn floats_are_short() {
        for (value, text) in
            [(0.0, "0"), (1.6e-2, "1.6e-2"), (1e-3, "1e-3"), (0.25, "0.25"), (448.0, "448"), (1.5e7, "1.5e7")]
        {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn shares_have_two_digits_and_no_exponent() {
        for (part, whole, text) in [
            (3, 32_768, "0.0092 %"),
            (1, 1024, "0.098 %"),
            (1, 3, "33 %"),
            (1, 20, "5 %"),
            (0, 5, "0 %"),
            (1, usize::MAX, "<0.0001 %"),
        ] {
            assert_eq!(percent(part, whole), text);
        }
    }

    #[test]
    fn a_timestamp_gives_its_time_of_day() {
        assert_eq!(time_of_day("20251204_143216_802"), "14:32:16.802");
        assert_eq!(time_of_day("odd"), "odd");
    }
}
