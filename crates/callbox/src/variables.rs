//! Environment variables as numbers and choices. A bad value is a warning and the default, never an error.

use std::ffi::{OsStr, OsString};
use std::fmt;

use callbox_core::planted;

/// Reads variables that share a prefix.
pub(crate) struct Variables<'a> {
    prefix: &'a str,
    get: &'a dyn Fn(&str) -> Option<OsString>,
    warnings: Vec<Warning>,
}

/// A variable whose value was not used.
///
/// ```
/// use callbox::Config;
///
/// let variables = |name: &str| (name == "FLASHINFER_LOGLEVEL").then(|| "loud".into());
/// let (config, warnings) = Config::from_variables("FLASHINFER_", &variables);
/// assert_eq!(config, Config::default());
/// assert_eq!(
///     warnings[0].to_string(),
///     "FLASHINFER_LOGLEVEL=\"loud\" is not used: expected a whole number, 0 or more; the default is 0"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Name of the variable.
    pub variable: String,
    /// Its value; what is not Unicode is replaced.
    pub value: String,
    /// What would do.
    pub expected: &'static str,
    /// What holds instead.
    pub default: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Warning { variable, value, expected, default } = self;
        write!(f, "{variable}={value:?} is not used: expected {expected}; the default is {default}")
    }
}

impl<'a> Variables<'a> {
    pub(crate) fn new(prefix: &'a str, get: &'a dyn Fn(&str) -> Option<OsString>) -> Variables<'a> {
        Variables { prefix, get, warnings: Vec::new() }
    }

    pub(crate) fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    /// Returns a variable as it is; an empty one is as good as none.
    pub(crate) fn raw(&self, name: &str) -> Option<OsString> {
        (self.get)(&self.full_name(name)).filter(|value| !value.is_empty())
    }

    /// Reads a variable with `parse`, which gives `None` for a bad value.
    pub(crate) fn parsed<T: fmt::Display>(
        &mut self,
        name: &str,
        expected: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some(value) = self.raw(name) else {
            return default;
        };
        match value.to_str().and_then(parse) {
            Some(parsed) => parsed,
            None => {
                self.warn(name, &value, expected, default.to_string());
                default
            }
        }
    }

    /// Returns a variable that has to be Unicode.
    pub(crate) fn text(&mut self, name: &str) -> String {
        self.parsed(name, "Unicode text", String::new(), |text| Some(text.to_owned()))
    }

    fn warn(&mut self, name: &str, value: &OsStr, expected: &'static str, default: String) {
        assert!(!planted::bug("bad_value_panics"), "{name} has a bad value");
        let (variable, value) = (self.full_name(name), value.to_string_lossy().into_owned());
        self.warnings.push(Warning { variable, value, expected, default });
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Reads a whole number from 0 up as Python's `int` does: blanks around it, a plus sign, underscores between
/// digits. Numbers beyond 64 bits are as large as can be.
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    let text = without_underscores(text.trim())?;
    let digits = text.strip_prefix('+').unwrap_or(&text);
    let is_zero = digits
        .strip_prefix('-')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b == b'0'));
    if is_zero {
        return Some(0);
    }
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Reads a number of gigabytes (2^30 bytes) from 0 up as Python's `float` does, into bytes; infinity is as much
/// as can be.
pub(crate) fn gigabytes(text: &str) -> Option<u64> {
    let text = without_underscores(text.trim())?;
    let number: f64 = text.parse().ok()?;
    // A float becomes the nearest integer that there is: past 2^64 that is the largest.
    (number >= 0.0).then_some((number * f64::from(1 << 30)) as u64)
}

/// Drops underscores that stand between two digits; `None` where one stands elsewhere.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit =
        |place: Option<usize>| place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_digit);
    let stands_well = |place: usize| is_digit(place.checked_sub(1)) && is_digit(Some(place + 1));
    let mut underscores = text.match_indices('_');
    underscores.all(|(place, _)| stands_well(place)).then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_python_reads_them() {
        for (text, number) in
            [("3", 3), (" 3 ", 3), ("+1", 1), ("007", 7), ("1_000", 1000), ("-0", 0), ("\t10\n", 10)]
        {
            assert_eq!(whole_number(text), Some(number), "{text:?}");
        }
        assert_eq!(whole_number("99999999999999999999"), Some(u64::MAX));
        for text in
            ["abc", "3.0", "0x3", "-1", "1e3", "+", "", "_1", "1_", "1__0", "3 4", "nan", "+-1", "- 0"]
        {
            assert_eq!(whole_number(text), None, "{text:?}");
        }
    }

    #[test]
    fn gigabytes_are_numbers_of_two_to_the_thirty() {
        for (text, bytes) in
            [("20", 20 << 30), ("0.5", 1 << 29), ("1e-9", 1), (" +2. ", 2 << 30), ("0", 0), ("inf", u64::MAX)]
        {
            assert_eq!(gigabytes(text), Some(bytes), "{text:?}");
        }
        for text in ["20GB", "nan", "-1", "-inf", "", "1,5", "abc", "0x10"] {
            assert_eq!(gigabytes(text), None, "{text:?}");
        }
    }
}
