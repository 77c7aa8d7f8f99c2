//! From tensors to a file.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::io::{BufWriter, Write};

use callbox_core::elements::check_expansion;
use callbox_core::{FilePlan, FormatError, Layout, StorageBytes, TensorGroup, TensorView};
use safetensors::tensor::TensorInfo;

use crate::dtype::{last_size_factor, to_safetensors};
use crate::header::{self, METADATA};
use crate::serializer::FORMAT;

/// Headers and tensors smaller than this leave in one write with their neighbours.
const GATHERED: u64 = 64 * 1024;

/// Sizes the file; no element is read.
pub(crate) fn plan(group: &TensorGroup<'_>) -> Result<FilePlan, FormatError> {
    let contents = Contents::new(group)?;
    Ok(FilePlan { format: FORMAT, bytes: contents.byte_len(), hash: None, remarks: Vec::new() })
}

/// Writes the header, then each tensor's logical elements in row-major order, one tensor after the other.
pub(crate) fn encode(group: &TensorGroup<'_>, out: &mut dyn Write) -> Result<(), FormatError> {
    let contents = Contents::new(group)?;
    let mut out = BufWriter::with_capacity(contents.byte_len().min(GATHERED) as usize, out);
    out.write_all(&contents.header).map_err(FormatError::Write)?;
    for tensor in contents.tensors {
        put_elements(tensor, &mut out)?;
    }
    out.flush().map_err(FormatError::Write)
}

/// What the file holds: the header with its length in front, and the tensors in the order of their data.
struct Contents<'a> {
    header: Vec<u8>,
    tensors: Vec<&'a TensorView<'a>>,
    data_len: usize,
}

impl<'a> Contents<'a> {
    fn new(group: &'a TensorGroup<'a>) -> Result<Contents<'a>, FormatError> {
        let mut described = Vec::with_capacity(group.tensors.len());
        let mut keys = HashSet::with_capacity(group.tensors.len());
        for (key, tensor) in &group.tensors {
            if !keys.insert(*key) {
                return Err(cannot_hold(key, "another tensor has the same key"));
            }
            described.push((*key, describe(key, tensor)?, tensor));
        }
        // The format's own order: the largest alignment first, so that every tensor lies at a multiple of its
        // dtype's size, then by name.
        described.sort_by_key(|(key, info, _)| (Reverse(info.dtype), *key));

        let mut data_len: usize = 0;
        let mut infos = Vec::with_capacity(described.len());
        let mut tensors = Vec::with_capacity(described.len());
        for (key, mut info, tensor) in described {
            let start = data_len;
            data_len = start
                .checked_add(info.data_offsets.1)
                .ok_or_else(|| cannot_hold(key, "the data before it leave no room in a file"))?;
            info.data_offsets = (start, data_len);
            infos.push((key.to_owned(), info));
            tensors.push(tensor);
        }
        Ok(Contents { header: header::write(infos)?, tensors, data_len })
    }

    fn byte_len(&self) -> u64 {
        (self.header.len() + self.data_len) as u64
    }
}

fn put_elements(tensor: &TensorView<'_>, out: &mut dyn Write) -> Result<(), FormatError> {
    if let Some(bytes) = elements_at_hand(tensor) {
        return out.write_all(bytes).map_err(FormatError::Write);
    }
    tensor.for_each_piece(&mut |piece| out.write_all(piece).map_err(FormatError::Write))
}

/// Returns the logical elements where they lie as one in host memory: as one write they cost least.
fn elements_at_hand<'t>(tensor: &'t TensorView<'_>) -> Option<&'t [u8]> {
    let TensorView { layout, flags, .. } = tensor;
    if !layout.is_contiguous() || layout.numel() == 0 || flags.conj || flags.neg {
        return None;
    }
    match &tensor.storage.bytes {
        StorageBytes::Host(bytes) => {
            let item_size = tensor.dtype.item_size();
            Some(&bytes[layout.offset() * item_size..layout.end() * item_size])
        }
        StorageBytes::Device(_) => None,
    }
}

/// Says what the header will say of a tensor, its bytes counted from zero.
fn describe(key: &str, tensor: &TensorView<'_>) -> Result<TensorInfo, FormatError> {
    let dtype = to_safetensors(tensor.dtype)
        .ok_or_else(|| cannot_hold(key, &format!("safetensors has no dtype like {}", tensor.dtype)))?;
    if key == METADATA {
        return Err(cannot_hold(key, "the format has another use for this name"));
    }
    if let Some(mark) = tensor.flags.meaningless_mark(tensor.dtype) {
        return Err(cannot_hold(key, &format!("it is {} and marked as {mark}", tensor.dtype)));
    }
    let item_size = tensor.dtype.item_size();
    let stored = tensor.storage.bytes.len() / item_size;
    tensor
        .layout
        .check_storage(stored)
        .map_err(|source| FormatError::Tensor { key: key.to_owned(), source })?;
    let numel = tensor.layout.numel();
    check_expansion(numel, stored).map_err(|error| cannot_hold(key, &error.to_string()))?;
    let mut shape = tensor.layout.shape().to_vec();
    // Readers give the tensor row-major strides: with a size of zero among huge ones there are none.
    Layout::contiguous(&shape).map_err(|error| cannot_hold(key, &error.to_string()))?;
    let factor = last_size_factor(tensor.dtype);
    if factor > 1 {
        let last = shape.last_mut().ok_or_else(|| {
            cannot_hold(key, "two packed numbers need a dimension, and the tensor has none")
        })?;
        *last = last.checked_mul(factor).ok_or_else(|| cannot_hold(key, "its last size overflows"))?;
    }
    Ok(TensorInfo { dtype, shape, data_offsets: (0, numel * item_size) })
}

fn cannot_hold(key: &str, reason: &str) -> FormatError {
    FormatError::CannotHold { key: key.to_owned(), reason: reason.to_owned() }
}
