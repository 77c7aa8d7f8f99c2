//! What was written is read back and compared.

use std::borrow::Cow;

use callbox_core::{LoadedTensor, TensorBuf, TensorMap};

use crate::tensors::Tensors;

/// Compares a file that was read back with what went into it; `None` if they agree.
///
/// Dtype, shape and the bytes of the logical elements have to agree; strides too, where the format keeps them.
pub(crate) fn difference(written: &Tensors, read: &TensorMap, with_strides: bool) -> Option<String> {
    for (key, expected) in written {
        let found = match read.get(key) {
            Some(LoadedTensor::Whole(found)) => found,
            Some(LoadedTensor::WithoutElements { .. }) => {
                return Some(format!("tensor `{key}` has no elements"));
            }
            None => return Some(format!("tensor `{key}` is missing")),
        };
        if let Some(what) = tensor_difference(expected, found, with_strides) {
            return Some(format!("tensor `{key}` reads back with {what}"));
        }
    }
    let extra = read.iter().find(|(key, _)| !written.iter().any(|(known, _)| known == key));
    extra.map(|(key, _)| format!("tensor `{key}` was never written"))
}

fn tensor_difference(expected: &TensorBuf, found: &TensorBuf, with_strides: bool) -> Option<String> {
    if found.dtype() != expected.dtype() {
        return Some(format!("dtype {} instead of {}", found.dtype(), expected.dtype()));
    }
    if found.shape() != expected.shape() {
        return Some(format!("shape {:?} instead of {:?}", found.shape(), expected.shape()));
    }
    let (strides, expected_strides) = (found.layout().strides(), expected.layout().strides());
    if with_strides && strides != expected_strides {
        return Some(format!("strides {strides:?} instead of {expected_strides:?}"));
    }
    (elements(expected) != elements(found)).then(|| "other elements".to_owned())
}

/// Returns the logical elements: where they lie as one, they are not copied.
fn elements(tensor: &TensorBuf) -> Cow<'_, [u8]> {
    let (layout, flags) = (tensor.layout(), tensor.flags());
    if layout.is_contiguous() && layout.numel() > 0 && !flags.conj && !flags.neg {
        let item_size = tensor.dtype().item_size();
        return Cow::Borrowed(&tensor.storage()[layout.offset() * item_size..layout.end() * item_size]);
    }
    Cow::Owned(tensor.to_bytes())
}

#[cfg(test)]
mod tests {
    use callbox_core::DType;

    use super::*;

    fn tensor(values: [u8; 4], shape: &[usize]) -> TensorBuf {
        TensorBuf::from_elements(DType::UInt8, shape, values.to_vec()).unwrap()
    }

    fn check(found: &[(&str, TensorBuf)], with_strides: bool, expected: Option<&str>) {
        let written = vec![("a".to_owned(), tensor([1, 2, 3, 4], &[2, 2]))];
        let mut read = TensorMap::default();
        for (key, tensor) in found {
            read.insert((*key).to_owned(), LoadedTensor::Whole(tensor.clone()));
        }
        assert_eq!(difference(&written, &read, with_strides).as_deref(), expected);
    }

    #[test]
    fn each_difference_is_named_with_its_key() {
        let same = tensor([1, 2, 3, 4], &[2, 2]);
        check(&[("a", same.clone())], true, None);
        check(&[], true, Some("tensor `a` is missing"));
        check(&[("a", same.clone()), ("b", same.clone())], true, Some("tensor `b` was never written"));
        let other = tensor([1, 2, 3, 5], &[2, 2]);
        check(&[("a", other)], true, Some("tensor `a` reads back with other elements"));
        let flat = tensor([1, 2, 3, 4], &[4]);
        check(&[("a", flat)], true, Some("tensor `a` reads back with shape [4] instead of [2, 2]"));
        let signed = TensorBuf::from_elements(DType::Int8, &[2, 2], vec![1, 2, 3, 4]).unwrap();
        let expected = "tensor `a` reads back with dtype torch.int8 instead of torch.uint8";
        check(&[("a", signed)], true, Some(expected));
        let columns = same.relaid(&[1, 2]).unwrap();
        check(&[("a", columns.clone())], false, None);
        let expected = "tensor `a` reads back with strides [1, 2] instead of [2, 1]";
        check(&[("a", columns)], true, Some(expected));
    }
}
