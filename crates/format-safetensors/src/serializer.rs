//! The port's implementation.

use std::io::Write;

use callbox_core::{Bytes, FilePlan, Format, FormatError, TensorGroup, TensorMap, TensorSerializer};

use crate::{decode, encode, header};

/// What records, file names and readers call the format.
pub(crate) const FORMAT: Format =
    Format { name: "safetensors", extension: "safetensors", keeps_layout: false };

/// Reads and writes safetensors files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SafetensorsSerializer;

impl TensorSerializer for SafetensorsSerializer {
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
        header::check_head(head)
    }

    fn decode(&self, bytes: Bytes) -> Result<TensorMap, FormatError> {
        decode::decode(&bytes)
    }
}
