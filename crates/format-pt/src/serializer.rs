//! The port's implementation.

use std::io::Write;

use callbox_core::{Bytes, FormatError, TensorGroup, TensorMap, TensorSerializer};

use crate::{container, decode, encode};

/// Reads and writes files as `torch.save` makes them of a dictionary of tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PtSerializer;

impl TensorSerializer for PtSerializer {
    fn name(&self) -> &'static str {
        "torch"
    }

    fn extension(&self) -> &'static str {
        "pt"
    }

    fn keeps_layout(&self) -> bool {
        true
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
