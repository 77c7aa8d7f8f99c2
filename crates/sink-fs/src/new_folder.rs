//! A folder that is filled with files under names of the caller's choice.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{FileHash, SinkError};

use crate::disk::Folder;
use crate::durability::Durability;
use crate::files::{Files, RealFiles};
use crate::hash::Hashing;
use crate::staged::{self, Fill};

/// A folder that is being filled, readable by its owner alone.
///
/// A recorder chooses names that are free; this is for sessions that are written anew, under the names they have.
#[derive(Debug)]
pub struct NewFolder {
    path: PathBuf,
    folder: Folder,
}

impl NewFolder {
    /// Opens a folder by its path; it and its parents are made where they are missing. The path is the user's own
    /// and may lead through symbolic links.
    pub fn open_or_create(path: &Path) -> Result<NewFolder, SinkError> {
        let files: Arc<dyn Files> = Arc::new(RealFiles);
        let folder = Folder::open_or_create(&files, path, Durability::Process)?;
        Ok(NewFolder { path: path.to_owned(), folder })
    }

    /// Makes a folder inside this one, by that very name; there must be nothing of the name.
    pub fn folder(&self, name: &str) -> Result<NewFolder, SinkError> {
        let path = self.path.join(name);
        match self.folder.create_folder(name)? {
            Some(folder) => Ok(NewFolder { path, folder }),
            None => Err(SinkError::Io { act: "create", path, source: io::ErrorKind::AlreadyExists.into() }),
        }
    }

    /// Writes a file; `planned` is the size that it must come to, where that is known. `Ok` gives its size and its
    /// hash, where one is asked for: the whole file is visible; an error leaves nothing visible.
    pub fn put(
        &self,
        name: &str,
        planned: Option<u64>,
        hashing: Hashing,
        fill: &mut Fill<'_>,
    ) -> Result<(u64, Option<FileHash>), SinkError> {
        staged::put(&self.folder, name, planned, hashing, fill)
    }
}
