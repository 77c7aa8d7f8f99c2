//! Types that are a class of their own in Python: dtype, device, path, range, duration.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callbox_core::{DType, Device, LiveValue, OwnedValue, Value};

use crate::from_value::{FromValue, FromValueError};
use crate::to_value::ToValue;

const NANOS_PER_MICRO: u32 = 1_000;

impl ToValue for DType {
    fn to_value(&self) -> LiveValue<'_> {
        Value::dtype(*self)
    }
}

/// Takes a dtype or its name.
impl FromValue for DType {
    fn from_value(value: OwnedValue) -> Result<DType, FromValueError> {
        let name = match value {
            Value::DType(name) => name,
            Value::Text(text) => text.to_string(),
            other => return Err(FromValueError::kind("a dtype", &other)),
        };
        DType::from_torch_name(&name).ok_or(FromValueError::Text { wanted: "dtype", text: name })
    }
}

pub(crate) fn opaque<'a>(class: &str, text: String) -> LiveValue<'a> {
    Value::Opaque { class: class.to_owned(), repr: text.into() }
}

/// Takes the text of a value of this class, or a plain text.
pub(crate) fn text_of(
    value: OwnedValue,
    wanted: &str,
    expected: &'static str,
) -> Result<String, FromValueError> {
    match value {
        Value::Opaque { class, repr } if class == wanted => Ok(repr.to_string()),
        Value::Text(text) => Ok(text.to_string()),
        other => Err(FromValueError::kind(expected, &other)),
    }
}

/// Recorded as torch's `device`.
impl ToValue for Device {
    fn to_value(&self) -> LiveValue<'_> {
        opaque("device", self.to_string())
    }
}

impl FromValue for Device {
    fn from_value(value: OwnedValue) -> Result<Device, FromValueError> {
        let text = text_of(value, "device", "a device")?;
        text.parse().map_err(|_| FromValueError::Text { wanted: "device", text })
    }
}

/// Recorded as Python's `PosixPath`; bytes that are no Unicode are lost.
impl ToValue for Path {
    fn to_value(&self) -> LiveValue<'_> {
        opaque("PosixPath", self.to_string_lossy().into_owned())
    }
}

impl ToValue for PathBuf {
    fn to_value(&self) -> LiveValue<'_> {
        self.as_path().to_value()
    }
}

impl FromValue for PathBuf {
    fn from_value(value: OwnedValue) -> Result<PathBuf, FromValueError> {
        text_of(value, "PosixPath", "a path").map(PathBuf::from)
    }
}

macro_rules! ranges {
    ($($integer:ty),+) => { $(
        /// Recorded as Python's `range`.
        impl ToValue for Range<$integer> {
            fn to_value(&self) -> LiveValue<'_> {
                opaque("range", format!("range({}, {})", self.start, self.end))
            }
        }

        impl FromValue for Range<$integer> {
            fn from_value(value: OwnedValue) -> Result<Self, FromValueError> {
                let text = text_of(value, "range", "a range")?;
                let ends = text.strip_prefix("range(").and_then(|rest| rest.strip_suffix(")")?.split_once(", "));
                let parsed = ends.and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
                parsed.ok_or(FromValueError::Text { wanted: concat!("range of ", stringify!($integer)), text })
            }
        }
    )+ };
}

ranges!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

/// Recorded as Python's `timedelta`, `1 day, 0:00:01.500000`; with nine decimals where six are too few.
impl ToValue for Duration {
    fn to_value(&self) -> LiveValue<'_> {
        let (minutes, seconds) = (self.as_secs() / 60, self.as_secs() % 60);
        let (hours, minutes) = (minutes / 60, minutes % 60);
        let (days, hours) = (hours / 24, hours % 24);
        let days = match days {
            0 => String::new(),
            1 => "1 day, ".to_owned(),
            days => format!("{days} days, "),
        };
        let fraction = match self.subsec_nanos() {
            0 => String::new(),
            nanos if nanos % NANOS_PER_MICRO == 0 => format!(".{:06}", nanos / NANOS_PER_MICRO),
            nanos => format!(".{nanos:09}"),
        };
        opaque("timedelta", format!("{days}{hours}:{minutes:02}:{seconds:02}{fraction}"))
    }
}

/// Fails for a negative `timedelta`.
impl FromValue for Duration {
    fn from_value(value: OwnedValue) -> Result<Duration, FromValueError> {
        let text = text_of(value, "timedelta", "a duration")?;
        parse_timedelta(&text).ok_or(FromValueError::Text { wanted: "duration", text })
    }
}

fn parse_timedelta(text: &str) -> Option<Duration> {
    let (days, time) = match text.split_once(", ") {
        Some((days, time)) => (days.split_once(" day")?.0.parse::<u64>().ok()?, time),
        None => (0, text),
    };
    let (hours, rest) = time.split_once(':')?;
    let (minutes, rest) = rest.split_once(':')?;
    let (seconds, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let below = |text: &str, limit: u64| text.parse().ok().filter(|number| *number < limit);
    let hours = days.checked_mul(24)?.checked_add(below(hours, 24)?)?;
    let minutes = hours.checked_mul(60)?.checked_add(below(minutes, 60)?)?;
    let seconds = minutes.checked_mul(60)?.checked_add(below(seconds, 60)?)?;
    let nanos = format!("{fraction:0<9}").parse().ok().filter(|_| fraction.len() <= 9)?;
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(value: LiveValue<'_>, class: &str, text: &str) {
        match value {
            Value::Opaque { class: found, repr } => {
                assert_eq!((found.as_str(), repr.as_str()), (class, Some(text)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_is_spelled_as_python_spells_it() {
        check(Device::Cuda(1).to_value(), "device", "cuda:1");
        check(Path::new("/a/b").to_value(), "PosixPath", "/a/b");
        check((0..5usize).to_value(), "range", "range(0, 5)");
        check(Duration::from_millis(1500).to_value(), "timedelta", "0:00:01.500000");
        check(Duration::from_secs(86_400).to_value(), "timedelta", "1 day, 0:00:00");
        check(Duration::from_secs(200_000).to_value(), "timedelta", "2 days, 7:33:20");
        check(Duration::from_nanos(7).to_value(), "timedelta", "0:00:00.000000007");
    }

    #[test]
    fn a_text_that_stands_for_nothing_is_refused() {
        let opaque = |class: &str, text: &str| -> OwnedValue {
            Value::Opaque { class: class.to_owned(), repr: text.into() }
        };
        for text in ["", "1", "0:61:00", "-1 day, 23:59:59", "0:00:01.0000000001", "1:2"] {
            let error = Duration::from_value(opaque("timedelta", text)).unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is no duration"));
        }
        for text in ["range(0, 5, 2)", "range(0)", "0..5", "range(0, -1)"] {
            let error = Range::<u8>::from_value(opaque("range", text)).unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is no range of u8"));
        }
        let error = Device::from_value(opaque("device", "mps")).unwrap_err();
        assert_eq!(error.to_string(), "`mps` is no device");
        let error = Device::from_value(opaque("range", "cpu")).unwrap_err();
        assert_eq!(error.to_string(), "expected a device, found a value of type range");
    }

    proptest! {
        #[test]
        fn durations_come_back_to_the_nanosecond(seconds: u64, nanos in 0..1_000_000_000u32) {
            let duration = Duration::new(seconds, nanos);
            let Value::Opaque { class, repr } = duration.to_value() else { panic!("no text") };
            prop_assert_eq!(Duration::from_value(Value::Opaque { class, repr }).unwrap(), duration);
        }
    }
}
