//! The port's implementation.

use std::io::Write;

use callbox_core::{Bytes, FormatError, TensorGroup, TensorMap, TensorSerializer};

use crate::{decode, encode, header};

/// Reads and writes safetensors files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SafetensorsSerializer;

impl TensorSerializer for SafetensorsSerializer {
    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn extension(&self) -> &'static str {
        "safetensors"
    }

    fn keeps_layout(&self) -> bool {
        false
    }

    fn encode<'a>(&self, group: &'a TensorGroup<'a>, out: &'a mut dyn Write) -> Result<(), FormatError> {
        encode::encode(group, out)
    }

    fn recognise(&self, head: &[u8]) -> Result<(), FormatError> {
        header::check_head(head)
    }

    fn decode(&self, bytes: Bytes) -> Result<TensorMap, FormatError> {
        decode::decode(&bytes)
    }
}
