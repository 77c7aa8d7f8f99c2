//! Where a folder lies, as a record spells it in `dump_dir`.

use std::path::{Component, Path, PathBuf};

/// Drops what says nothing from a path, as Python's pathlib does: `a//b/./c/` is `a/b/c`, nothing is `.`.
pub(crate) fn normalised(path: &Path) -> PathBuf {
    let parts: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if parts.as_os_str().is_empty() { PathBuf::from(".") } else { parts }
}

/// Spells where something lies inside a session, whose path is normalised.
///
/// Bytes of the path that are no UTF-8 are lost, each sequence a U+FFFD: text cannot hold the lone surrogates that
/// Python has for them. Readers look at the last component alone, which has none.
pub(crate) fn location(session: &Path, inside: &str) -> String {
    // `.` is no part of a path, for pathlib.
    match session.as_os_str().as_encoded_bytes() {
        b"." => inside.to_owned(),
        _ => session.join(inside).to_string_lossy().into_owned(),
    }
}
