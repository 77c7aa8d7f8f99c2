//! Where the new session may lie: in a folder that holds nothing, and apart from the old one.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::error::TargetError;

/// Checks the new session's folder; nothing is made yet.
pub(crate) fn check(dir: &Path, out: &Path) -> Result<(), TargetError> {
    let unusable = |source| TargetError::Unusable { path: out.to_owned(), source };
    match fs::read_dir(out).map(|mut entries| entries.next()) {
        Ok(None) => {}
        Ok(Some(_)) => return Err(TargetError::NotEmpty(out.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unusable(error)),
    }
    let real_out = resolved(out).map_err(unusable)?;
    let real_dir = dir.canonicalize().map_err(unusable)?;
    if real_out.starts_with(&real_dir) || real_dir.starts_with(&real_out) {
        return Err(TargetError::Nested { out: out.to_owned(), dir: dir.to_owned() });
    }
    Ok(())
}

/// Resolves a path whose last parts need not exist.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    for known in path.ancestors() {
        let folder = if known.as_os_str().is_empty() { Path::new(".") } else { known };
        let Ok(real) = folder.canonicalize() else { continue };
        let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
        if rest.components().any(|part| part == Component::ParentDir) {
            let reason = "`..` behind a folder that does not exist";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        return Ok(real.join(rest));
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A folder that holds `session`, which holds `call`; the target is given relative to it.
    fn check_in(make: impl FnOnce(&Path), out: &str) -> Result<(), TargetError> {
        let folder = TempDir::new().unwrap();
        fs::create_dir_all(folder.path().join("session/call")).unwrap();
        make(folder.path());
        let checked = check(&folder.path().join("session"), &folder.path().join(out));
        assert_eq!(fs::read_dir(folder.path().join("session")).unwrap().count(), 1, "nothing is touched");
        checked
    }

    #[test]
    fn a_folder_that_is_empty_or_missing_will_do() {
        check_in(|_| {}, "new").unwrap();
        check_in(|_| {}, "new/deep/./folder").unwrap();
        check_in(|_| {}, "session/../new").unwrap();
        check_in(|folder| fs::create_dir(folder.join("empty")).unwrap(), "empty").unwrap();
    }

    #[test]
    fn a_folder_with_something_in_it_or_a_file_will_not() {
        let checked = check_in(
            |folder| {
                fs::create_dir(folder.join("full")).unwrap();
                fs::write(folder.join("full/.hidden"), "").unwrap();
            },
            "full",
        );
        assert!(matches!(checked, Err(TargetError::NotEmpty(_))), "{checked:?}");
        let checked = check_in(|folder| fs::write(folder.join("file"), "").unwrap(), "file");
        assert!(matches!(checked, Err(TargetError::Unusable { .. })), "{checked:?}");
    }

    #[test]
    fn neither_session_lies_inside_the_other_by_whatever_way() {
        for out in ["session/new", "session/call/new/deep", "session/call", "session/./new"] {
            let checked = check_in(
                |folder| {
                    fs::remove_dir(folder.join("session/call")).map_or((), |()| {
                        fs::create_dir(folder.join("session/call")).unwrap();
                    })
                },
                out,
            );
            assert!(matches!(checked, Err(TargetError::Nested { .. })), "{out}: {checked:?}");
        }
        let checked = check_in(|folder| symlink("session", folder.join("link")).unwrap(), "link/new");
        assert!(matches!(checked, Err(TargetError::Nested { .. })), "{checked:?}");
        let checked = check_in(|_| {}, "missing/../session/new");
        assert!(matches!(checked, Err(TargetError::Unusable { .. })), "{checked:?}");
    }
}
