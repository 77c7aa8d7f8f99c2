//! A folder that an input is laid out in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::TensorSerializer;
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{FsSource, ReadOptions};
use tempfile::TempDir;

/// A session's folder, gone with the value.
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(TempDir::new().expect("the system's folder for temporary files can be written"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and the folders above it; a name that the file system refuses is left out.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> bool {
        let path: PathBuf = self.path().join(name);
        let made = path.parent().is_none_or(|parent| fs::create_dir_all(parent).is_ok());
        made && fs::write(path, content).is_ok()
    }

    /// Opens the folder with both formats.
    pub(crate) fn open(&self) -> Option<FsSource> {
        let formats: Vec<Arc<dyn TensorSerializer>> =
            vec![Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)];
        match FsSource::open(self.path(), formats, ReadOptions::default()) {
            Ok(source) => Some(source),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                None
            }
        }
    }
}
