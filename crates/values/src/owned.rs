//! Keeping what a value borrows.

use callbox_core::{Bytes, Layout, LiveValue, OwnedValue, StageError, StorageBytes, TensorBuf, TensorView};

/// Copies a value with its tensors, so that it outlives the call: for the result of a replayed function.
///
/// A tensor takes along what it reaches of its storage, from the first element to the last, with its strides; so
/// the copy is never larger than the storage, whatever the view. Tensors that shared a storage have their own
/// afterwards. Fails if device memory cannot be read, or a view that was put together by hand reaches past its
/// storage.
///
/// ```
/// use callbox_values::{FromValue, ToValue, to_owned_value};
///
/// let result = (1u8, vec!["a".to_owned()]);
/// let owned = to_owned_value(&result.to_value())?;
/// assert_eq!(<(u8, Vec<String>)>::from_value(owned)?, result);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn to_owned_value(value: &LiveValue<'_>) -> Result<OwnedValue, StageError> {
    value.try_map(&mut to_owned_tensor)
}

fn to_owned_tensor(view: &TensorView<'_>) -> Result<TensorBuf, StageError> {
    let storage = if view.layout.numel() == 0 { Vec::new() } else { reached(view)? };
    let layout = Layout::new(view.layout.shape(), view.layout.strides(), 0);
    let layout = layout.expect("the same sizes and strides at a larger offset were checked");
    let tensor = TensorBuf::new(view.dtype, layout, Bytes::from(storage));
    let tensor = tensor.expect("the bytes from the first element to the last are there");
    Ok(tensor.with_flags(view.flags).with_device(view.device))
}

/// Copies the bytes from the first element to the last.
fn reached(view: &TensorView<'_>) -> Result<Vec<u8>, StageError> {
    let (offset, end, len) = (
        view.layout.offset().saturating_mul(view.dtype.item_size()),
        view.layout.end().saturating_mul(view.dtype.item_size()),
        view.storage.bytes.len(),
    );
    if end > len {
        return Err(StageError::OutOfRange { offset, end, len });
    }
    match &view.storage.bytes {
        StorageBytes::Host(bytes) => Ok(bytes[offset..end].to_vec()),
        StorageBytes::Device(memory) => {
            let mut bytes = vec![0; end - offset];
            memory.read(offset, &mut bytes)?;
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, Flags};
    use callbox_testkit::strategies;
    use proptest::prelude::*;

    use super::*;
    use crate::to_value::ToValue;

    fn owned(tensor: &TensorBuf) -> TensorBuf {
        match to_owned_value(&tensor.to_value()) {
            Ok(callbox_core::Value::Tensor(tensor)) => tensor,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn a_copied_tensor_has_the_same_elements_and_strides(tensor in strategies::tensor()) {
            let tensor = tensor.with_flags(Flags { requires_grad: true, ..Flags::default() });
            let copy = owned(&tensor);
            prop_assert_eq!(copy.to_meta(), tensor.to_meta());
            prop_assert_eq!(copy.to_bytes(), tensor.to_bytes());
            prop_assert_eq!(copy.flags(), tensor.flags());
            prop_assert!(copy.storage().len() <= tensor.storage().len());
        }
    }

    #[test]
    fn a_view_takes_along_what_it_reaches_and_no_more() {
        let tensor = TensorBuf::from_elements(DType::UInt8, &[100], vec![7; 100]).unwrap();
        let column = tensor.with_layout(Layout::new(&[3], &[10], 50).unwrap()).unwrap();
        assert_eq!(owned(&column).storage().len(), 21);
    }

    #[test]
    fn a_view_beyond_its_storage_is_an_error() {
        let tensor = TensorBuf::from_elements(DType::Float32, &[2], vec![0; 8]).unwrap();
        let mut view = tensor.as_view();
        view.layout = Layout::contiguous(&[3]).unwrap();
        let error = to_owned_value(&view.to_value()).unwrap_err();
        assert!(matches!(error, StageError::OutOfRange { offset: 0, end: 12, len: 8 }), "{error}");
    }
}
