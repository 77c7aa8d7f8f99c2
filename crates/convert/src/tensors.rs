//! The tensors of one file on their way into another format.

use std::collections::HashMap;

use callbox_core::{Format, FormatError, LoadedTensor, TensorBuf, TensorGroup, TensorMap, TensorMeta};

/// Key and tensor, in the order in which they are written.
pub(crate) type Tensors = Vec<(String, TensorBuf)>;

/// Lays the tensors of a file out for another format, in the order and, where the format has strides, with the
/// strides that the call's record gives them. An error says why a tensor cannot be written anywhere.
pub(crate) fn prepared(
    read: &TensorMap,
    from: Format,
    to: Format,
    details: &[(String, TensorMeta)],
) -> Result<Tensors, String> {
    let recorded: HashMap<_, _> =
        details.iter().enumerate().map(|(place, (key, meta))| (key.as_str(), (place, meta))).collect();
    let mut tensors = Vec::with_capacity(read.len());
    for (key, tensor) in read.iter() {
        let tensor = match tensor {
            LoadedTensor::Whole(tensor) => tensor,
            LoadedTensor::WithoutElements { reason, .. } => {
                return Err(format!("tensor `{key}` has no elements: {reason}"));
            }
        };
        let meta = recorded.get(key).map(|(_, meta)| *meta);
        let restored = meta
            .filter(|meta| !from.keeps_layout && to.keeps_layout && meta.shape == tensor.shape())
            .and_then(|meta| tensor.relaid(&meta.strides));
        tensors.push((key.to_owned(), restored.unwrap_or_else(|| tensor.clone())));
    }
    // A safetensors file has an order of its own; what no record names stays behind the rest.
    tensors.sort_by_key(|(key, _)| recorded.get(key.as_str()).map_or(usize::MAX, |(place, _)| *place));
    Ok(tensors)
}

/// Borrows tensors for an encoder.
pub(crate) fn group<'a>(stem: &'a str, tensors: &'a Tensors) -> TensorGroup<'a> {
    TensorGroup {
        stem,
        tensors: tensors.iter().map(|(key, tensor)| (key.as_str(), tensor.as_view())).collect(),
    }
}

/// Counts the tensors of which a format without layouts loses more than it keeps elements.
pub(crate) fn views(tensors: &Tensors) -> usize {
    let is_plain = |tensor: &TensorBuf| {
        let whole = tensor.numel() * tensor.dtype().item_size() == tensor.storage().len();
        tensor.layout().is_contiguous() && whole && tensor.flags() == callbox_core::Flags::default()
    };
    tensors.iter().filter(|(_, tensor)| !is_plain(tensor)).count()
}

/// Says why a format does not take a file's tensors.
pub(crate) fn refusal(error: &FormatError, to: Format) -> String {
    match error {
        FormatError::CannotHold { key, reason } => {
            format!("tensor `{key}` cannot be kept in a .{} file: {reason}", to.extension)
        }
        other => callbox_core::error::chain(other),
    }
}
