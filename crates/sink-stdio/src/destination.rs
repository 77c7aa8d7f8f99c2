//! Where the log goes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Where the call log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogDestination {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, opened for append; `%i` stands for the process id.
    File(PathBuf),
}

impl LogDestination {
    /// Reads a destination as `FLASHINFER_LOGDEST` spells it: `stdout`, `stderr`, or else a path.
    ///
    /// ```
    /// use callbox_sink_stdio::LogDestination;
    ///
    /// assert_eq!(LogDestination::parse("stderr".into()), LogDestination::Stderr);
    /// assert_eq!(LogDestination::parse("Stderr".into()), LogDestination::File("Stderr".into()));
    /// ```
    pub fn parse(text: OsString) -> LogDestination {
        match text.as_bytes() {
            b"stdout" => LogDestination::Stdout,
            b"stderr" => LogDestination::Stderr,
            _ => LogDestination::File(text.into()),
        }
    }
}

/// Writes the destination as it is given.
impl fmt::Display for LogDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogDestination::Stdout => f.write_str("stdout"),
            LogDestination::Stderr => f.write_str("stderr"),
            LogDestination::File(path) => path.display().fmt(f),
        }
    }
}

/// Replaces `%i` by the process id, wherever it stands in a path.
///
/// ```
/// use std::path::Path;
///
/// let path = callbox_sink_stdio::with_process_id(Path::new("logs/api_%i.log"), 12345);
/// assert_eq!(path, Path::new("logs/api_12345.log"));
/// ```
pub fn with_process_id(path: &Path, process_id: u32) -> PathBuf {
    let mut rest = path.as_os_str().as_bytes();
    let mut replaced = Vec::new();
    while let Some(place) = rest.windows(2).position(|pair| pair == b"%i") {
        replaced.extend_from_slice(&rest[..place]);
        replaced.extend_from_slice(process_id.to_string().as_bytes());
        rest = &rest[place + 2..];
    }
    replaced.extend_from_slice(rest);
    OsString::from_vec(replaced).into()
}

/// Tells whether the process id is a part of the path.
pub(crate) fn has_process_id(path: &Path) -> bool {
    let text: &OsStr = path.as_os_str();
    text.as_bytes().windows(2).any(|pair| pair == b"%i")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_holder_is_replaced_and_other_percent_signs_stay() {
        for (path, expected) in [("%i/%i_%d%%i", "7/7_%d%7"), ("plain", "plain"), ("%", "%"), ("", "")] {
            assert_eq!(with_process_id(Path::new(path), 7), Path::new(expected));
            assert_eq!(has_process_id(Path::new(path)), path != expected);
        }
    }
}
