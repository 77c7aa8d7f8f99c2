//! From tensors to a file.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::io::{BufWriter, Write};

use callbox_core::elements::check_expansion;
use callbox_core::{FilePlan, FormatError, TensorGroup, TensorView};
use safetensors::tensor::TensorInfo;

use crate::dtype::{last_size_factor, to_safetensors};
use crate::header;
use crate::serializer::FORMAT;

/// Counts the bytes of the file.
pub(crate) fn plan(group: &TensorGroup<'_>) -> Result<FilePlan, FormatError> {
    let mut count = Count(0);
    encode(group, &mut count)?;
    Ok(FilePlan { format: FORMAT, bytes: count.0, remarks: Vec::new() })
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes the header, then each tensor's logical elements in row-major order, one tensor after the other.
pub(crate) fn encode(group: &TensorGroup<'_>, out: &mut dyn Write) -> Result<(), FormatError> {
    let mut tensors = Vec::with_capacity(group.tensors.len());
    let mut keys = HashSet::new();
    for (key, tensor) in &group.tensors {
        if !keys.insert(*key) {
            return Err(cannot_hold(key, "another tensor has the same key"));
        }
        tensors.push((*key, describe(key, tensor)?, tensor));
    }
    // The format's own order: the largest alignment first, so that every tensor lies at a multiple of its
    // dtype's size, then by name.
    tensors.sort_by_key(|(key, info, _)| (Reverse(info.dtype), *key));

    let mut data_len = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    let mut views = Vec::with_capacity(tensors.len());
    for (key, mut info, view) in tensors {
        let start = data_len;
        data_len += info.data_offsets.1;
        info.data_offsets = (start, data_len);
        infos.push((key.to_owned(), info));
        views.push(view);
    }
    let header = header::write(infos)?;

    let mut out = BufWriter::new(out);
    out.write_all(&header).map_err(FormatError::Write)?;
    for view in views {
        view.for_each_piece(&mut |piece| out.write_all(piece).map_err(FormatError::Write))?;
    }
    out.flush().map_err(FormatError::Write)
}

/// Says what the header will say of a tensor, its bytes counted from zero.
fn describe(key: &str, tensor: &TensorView<'_>) -> Result<TensorInfo, FormatError> {
    let dtype = to_safetensors(tensor.dtype)
        .ok_or_else(|| cannot_hold(key, &format!("safetensors has no dtype like {}", tensor.dtype)))?;
    let item_size = tensor.dtype.item_size();
    let stored = tensor.storage.bytes.len() / item_size;
    tensor
        .layout
        .check_storage(stored)
        .map_err(|source| FormatError::Tensor { key: key.to_owned(), source })?;
    let numel = tensor.layout.numel();
    check_expansion(numel, stored).map_err(|error| cannot_hold(key, &error.to_string()))?;
    let mut shape = tensor.layout.shape().to_vec();
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
