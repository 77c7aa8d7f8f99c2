//! From a file to its tensors.

use callbox_core::{Bytes, FormatError, Layout, LoadedTensor, Quoted, TensorBuf, TensorMap};
use safetensors::tensor::TensorInfo;

use crate::dtype::{from_safetensors, last_size_factor};
use crate::header;

/// Reads the tensors in the order of their data; each is a part of `bytes`.
pub(crate) fn decode(bytes: &Bytes) -> Result<TensorMap, FormatError> {
    let (metadata, data_start) = header::read(bytes)?;
    let data = bytes.slice(data_start..);
    let mut tensors = TensorMap::default();
    for name in metadata.offset_keys() {
        let info = metadata.info(&name).expect("the name comes from this header");
        let tensor = read_tensor(&name, info, &data)?;
        tensors.insert(name, LoadedTensor::Whole(tensor));
    }
    Ok(tensors)
}

fn read_tensor(name: &str, info: &TensorInfo, data: &Bytes) -> Result<TensorBuf, FormatError> {
    let dtype = from_safetensors(info.dtype).expect("the header's reader lets known dtypes pass only");
    let mut shape = info.shape.clone();
    let factor = last_size_factor(dtype);
    if factor > 1 {
        match shape.last_mut() {
            Some(last) if last.is_multiple_of(factor) => *last /= factor,
            Some(_) | None => {
                return Err(FormatError::Unsupported(format!(
                    "tensor {} has rows that end inside a byte",
                    Quoted(name.as_bytes())
                )));
            }
        }
    }
    let (start, end) = info.data_offsets;
    Layout::contiguous(&shape)
        .and_then(|layout| TensorBuf::new(dtype, layout, data.slice(start..end)))
        .map_err(|source| FormatError::Tensor { key: name.to_owned(), source })
}
