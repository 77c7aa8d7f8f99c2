//! What could not be removed when a recording failed: it is tried again, since the disk may be well by then.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use callbox_core::planted;

use crate::files::OpenFolder;

/// More than so many names are not kept: each keeps its folder open.
const MOST: usize = 64;

/// Names of files and folders that should be gone and are not.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Mutex<Vec<Leftover>>);

#[derive(Debug)]
struct Leftover {
    folder: Arc<dyn OpenFolder>,
    name: String,
    is_folder: bool,
}

impl Leftovers {
    /// Keeps a name for later. What is in a folder comes before the folder.
    pub(crate) fn keep(&self, folder: &Arc<dyn OpenFolder>, name: &str, is_folder: bool) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST && !planted::bug("leftovers_forgotten") {
            kept.push(Leftover { folder: folder.clone(), name: name.to_owned(), is_folder });
        }
    }

    /// Removes what can be removed by now; the rest is kept.
    pub(crate) fn remove(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|leftover| leftover.remove().is_err_and(|error| error.kind() != ErrorKind::NotFound));
    }
}

impl Leftover {
    fn remove(&self) -> io::Result<()> {
        if self.is_folder {
            self.folder.remove_folder(&self.name)
        } else {
            self.folder.remove_file(&self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::files::{Files, RealFiles};

    #[test]
    fn what_could_not_be_removed_is_removed_when_it_can_be() {
        let dir = TempDir::new().unwrap();
        let folder: Arc<dyn OpenFolder> = RealFiles.open_folder(dir.path()).unwrap().into();
        let (full, file) = (dir.path().join("full"), dir.path().join("file"));
        fs::create_dir(&full).unwrap();
        for path in [&full.join("in_the_way"), &file] {
            fs::write(path, b"").unwrap();
        }
        let leftovers = Leftovers::default();
        leftovers.keep(&folder, "full", true);
        leftovers.keep(&folder, "file", false);
        leftovers.remove();
        assert!(full.is_dir() && !file.exists(), "a folder that is not empty stays, and is not forgotten");
        fs::remove_file(full.join("in_the_way")).unwrap();
        leftovers.remove();
        assert!(!full.exists());
        // What has gone is not asked for again: somebody may have the name now.
        fs::create_dir(&full).unwrap();
        leftovers.remove();
        assert!(full.is_dir());
    }

    #[test]
    fn so_many_names_are_kept_and_no_more() {
        let dir = TempDir::new().unwrap();
        let folder: Arc<dyn OpenFolder> = RealFiles.open_folder(dir.path()).unwrap().into();
        let leftovers = Leftovers::default();
        for number in 0..=MOST {
            fs::write(dir.path().join(number.to_string()), b"").unwrap();
            leftovers.keep(&folder, &number.to_string(), false);
        }
        leftovers.remove();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
