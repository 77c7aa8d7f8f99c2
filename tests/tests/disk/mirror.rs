//! Shows what is on a simulated disk to the reader, which reads the real one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_testkit::sim::Tree;
use tempfile::TempDir;

/// A folder in memory, where the system has such, that follows a simulated disk from state to state.
#[derive(Debug)]
pub(crate) struct Mirror {
    folder: TempDir,
    /// What lies in it; a folder has no bytes.
    there: BTreeMap<String, Option<Arc<Vec<u8>>>>,
}

impl Mirror {
    pub(crate) fn new() -> Mirror {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Mirror { folder: folder.unwrap(), there: BTreeMap::new() }
    }

    /// Makes the folder like the disk; what is alike already is left alone.
    pub(crate) fn show(&mut self, tree: &Tree) {
        let wanted: BTreeMap<_, _> = tree.entries().into_iter().collect();
        // What is in a folder stands behind it.
        for (path, bytes) in self.there.iter().rev() {
            if wanted.get(path).is_none_or(|wanted| wanted.is_some() != bytes.is_some()) {
                let path = self.folder.path().join(path);
                if bytes.is_some() { fs::remove_file(path) } else { fs::remove_dir(path) }.unwrap();
            }
        }
        for (path, bytes) in &wanted {
            let there = self.there.get(path).filter(|there| there.is_some() == bytes.is_some());
            match (bytes, there) {
                (Some(bytes), Some(Some(there))) if Arc::ptr_eq(there, bytes) || there == bytes => {}
                (Some(bytes), _) => fs::write(self.folder.path().join(path), &**bytes).unwrap(),
                (None, Some(_)) => {}
                (None, None) => fs::create_dir(self.folder.path().join(path)).unwrap(),
            }
        }
        self.there = wanted;
    }

    /// Returns where a path of the disk lies.
    pub(crate) fn path_of(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// Leaves the folder to who wants to look at it.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}
