//! Opening a session for reading.

use std::path::Path;
use std::sync::Arc;

use callbox_core::{SourceError, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{FsSource, ReadOptions};

/// Opens a session's folder, with files of both formats.
///
/// ```
/// use callbox::core::DumpSource;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/sessions/batch_decode");
/// let source = callbox::open_session(folder.as_ref())?;
/// for call in source.calls()?.calls {
///     println!("{} {}", call.folder, call.state.name());
/// }
/// # Ok(())
/// # }
/// ```
pub fn open_session(folder: &Path) -> Result<FsSource, SourceError> {
    let formats: Vec<Arc<dyn TensorSerializer>> =
        vec![Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)];
    FsSource::open(folder, formats, ReadOptions::default())
}
