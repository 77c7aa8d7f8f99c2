//! For sinks that have to be given a format.

use std::io::Write;

use callbox_core::{Bytes, FilePlan, Format, FormatError, TensorGroup, TensorMap, TensorSerializer};

/// A format for tests that write no tensors.
#[derive(Debug)]
pub(crate) struct Unused;

impl TensorSerializer for Unused {
    fn format(&self) -> Format {
        Format { name: "unused", extension: "unused", keeps_layout: false }
    }

    fn plan<'a>(&self, _: &'a TensorGroup<'a>) -> Result<FilePlan, FormatError> {
        Ok(FilePlan { format: self.format(), bytes: 0, hash: None, remarks: Vec::new() })
    }

    fn encode<'a>(&self, _: &'a TensorGroup<'a>, _: &'a mut dyn Write) -> Result<(), FormatError> {
        Ok(())
    }

    fn recognise(&self, _: &[u8]) -> Result<(), FormatError> {
        Ok(())
    }

    fn decode(&self, _: Bytes) -> Result<TensorMap, FormatError> {
        Ok(TensorMap::default())
    }
}
