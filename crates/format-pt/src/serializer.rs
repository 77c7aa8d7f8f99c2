//! The port's implementation.

use std::io::Write;

use callbox_core::{Bytes, FilePlan, Format, FormatError, TensorGroup, TensorMap, TensorSerializer};

use crate::{container, decode, encode};

/// What records, file names and readers call the format.
pub(crate) const FORMAT: Format = Format { name: "torch", extension: "pt", keeps_layout: true };

/// Reads and writes files as `torch.save` makes them of a dictionary of tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PtSerializer;

impl TensorSerializer for PtSerializer {
    fn format(&self) -> Format {
        FORMAT
    }

    fn plan<'a>(&self, group: &'a TensorGroup<'a>) -> Result<FilePlan, FormatError> {
        encode::plan(group)
    }

    fn encode<'a>(&self, group: &'a TensorGroup<'a>, out: &'a mut dyn Write) -> Result<(), FormatError> {
        encode::encode(group, out)
    }

    fn recognise(&self, head: &[u8]) -> Result<(), FormatError> {
        container::refuse_foreign(head)
    }

    fn decode(&self, bytes: Bytes) -> Result<TensorMap, FormatError> {
        decode::decode(&bytes)
    }
}
