//! Tensors as the bytes of a file.

use std::fmt::Debug;
use std::io::Write;

use bytes::Bytes;

use crate::dump_file::{FilePlan, Format};
use crate::error::FormatError;
use crate::tensor_file::{TensorGroup, TensorMap};

/// One file format for tensors, both directions.
///
/// What its methods promise each other:
///
/// ```
/// use callbox_core::{FormatError, TensorGroup, TensorMap, TensorSerializer};
///
/// fn round_trip(format: &dyn TensorSerializer, tensors: &TensorGroup<'_>) -> Result<TensorMap, FormatError> {
///     let plan = format.plan(tensors)?;
///     let mut file = Vec::new();
///     format.encode(tensors, &mut file)?;
///     assert_eq!(file.len() as u64, plan.bytes);
///     format.recognise(&file[..file.len().min(512)])?;
///     format.decode(file.into())
/// }
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait TensorSerializer: Debug + Send + Sync {
    /// Returns the format's name, its file extension and what it keeps.
    fn format(&self) -> Format;
    /// Plans a file without reading an element. `Ok` tells its exact size, and that every tensor can be held.
    fn plan<'a>(&self, group: &'a TensorGroup<'a>) -> Result<FilePlan, FormatError>;
    /// Writes a whole file. `Ok`: [`TensorSerializer::decode`] gives back equal tensors; an error may have
    /// left a part in `out`.
    fn encode<'a>(&self, group: &'a TensorGroup<'a>, out: &'a mut dyn Write) -> Result<(), FormatError>;
    /// Looks at the first bytes of a file, 512 or all that it has. An error: `decode` would refuse the file,
    /// whatever follows; so a large file of something else need not be read.
    fn recognise(&self, head: &[u8]) -> Result<(), FormatError>;
    /// Reads a whole file. `Ok`: every tensor lies inside `bytes` (or a copy where the format needs one),
    /// checksums were verified or are named as [left out](TensorMap::unchecked), and nothing in the file was
    /// executed or looked up as code.
    fn decode(&self, bytes: Bytes) -> Result<TensorMap, FormatError>;
}
