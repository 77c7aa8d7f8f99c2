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
