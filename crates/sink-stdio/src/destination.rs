//! Where the log goes.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Stands for the process id in a path.
const PROCESS_ID: &[u8] = b"%i";

/// Where the call log goes: what `FLASHINFER_LOGDEST` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogDestination {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// A file; each `%i` in its path stands for the process id.
    File(PathBuf),
}

impl LogDestination {
    /// Reads `stdout` or `stderr`, spelled exactly so; anything else is the path of a file.
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
    let mut replaced = Vec::with_capacity(rest.len());
    while let Some(place) = rest.windows(PROCESS_ID.len()).position(|part| part == PROCESS_ID) {
        replaced.extend_from_slice(&rest[..place]);
        replaced.extend_from_slice(process_id.to_string().as_bytes());
        rest = &rest[place + PROCESS_ID.len()..];
    }
    replaced.extend_from_slice(rest);
    OsString::from_vec(replaced).into()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn the_process_id_stands_wherever_the_path_says_so_and_other_percent_signs_stay() {
        for (path, expected) in
            [("calls.log", "calls.log"), ("%i/%i_%d%%ii", "47/47_%d%47i"), ("%I%", "%I%"), ("", "")]
        {
            assert_eq!(with_process_id(path.as_ref(), 47), Path::new(expected), "{path}");
        }
        let no_unicode = Path::new(OsStr::from_bytes(b"\xff%i"));
        assert_eq!(with_process_id(no_unicode, 1).as_os_str().as_bytes(), b"\xff1");
    }
}
