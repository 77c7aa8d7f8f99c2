//! Tensors of the core, and slices handed over as tensors.

use callbox_core::{Layout, LayoutError, LiveValue, OwnedValue, TensorBuf, TensorView, Value};

use crate::element::Element;
use crate::from_value::{FromValue, FromValueError};
use crate::to_value::ToValue;

/// Views a slice as a row-major tensor of this shape (sizes in elements, outermost first).
///
/// A `Vec<f32>` or `&[f32]` is recorded as a list of numbers, as a Python list is: right for a handful of them. A
/// buffer of elements is a tensor. Fails if the shape has more elements than the slice; what the slice has beyond
/// the shape belongs to the storage and is kept in a `.pt` file.
///
/// ```
/// use callbox_values::{ToValue, Value, tensor_of};
///
/// let logits = vec![0.5f32; 12];
/// let view = tensor_of(&logits, &[3, 4])?;
/// assert_eq!(view.layout.shape(), [3, 4]);
/// assert!(matches!(view.to_value(), Value::Tensor(_)));
/// assert!(matches!(logits.to_value(), Value::List(_)));
/// # Ok::<(), callbox_core::LayoutError>(())
/// ```
pub fn tensor_of<'a, T: Element>(elements: &'a [T], shape: &[usize]) -> Result<TensorView<'a>, LayoutError> {
    TensorView::new(T::DTYPE, Layout::contiguous(shape)?, bytemuck::cast_slice(elements))
}

/// Copies a tensor's elements out in row-major order, conjugate and negative marks applied.
///
/// Fails if the tensor's dtype is another one, or if it is expanded out of proportion to its storage
/// ([`TensorBuf::check_expansion`]).
///
/// ```
/// use callbox_core::{DType, TensorBuf};
/// use callbox_values::elements_of;
///
/// let tensor = TensorBuf::from_f32(DType::Float32, &[2], &[1.0, 2.0])?;
/// assert_eq!(elements_of::<f32>(&tensor)?, [1.0, 2.0]);
/// assert!(elements_of::<f64>(&tensor).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn elements_of<T: Element>(tensor: &TensorBuf) -> Result<Vec<T>, FromValueError> {
    if tensor.dtype() != T::DTYPE {
        return Err(FromValueError::Dtype { expected: T::DTYPE, found: tensor.dtype() });
    }
    tensor.check_expansion().map_err(FromValueError::Elements)?;
    let mut elements = Vec::with_capacity(tensor.numel());
    tensor.for_each_piece(&mut |piece| {
        // A piece need not be aligned for the element.
        let lanes = piece.chunks_exact(size_of::<T>());
        elements.extend(lanes.flat_map(bytemuck::checked::try_pod_read_unaligned::<T>));
    });
    if elements.len() != tensor.numel() {
        return Err(FromValueError::Bits(T::DTYPE));
    }
    Ok(elements)
}

impl ToValue for TensorView<'_> {
    fn to_value(&self) -> LiveValue<'_> {
        Value::Tensor(self.clone())
    }
}

impl ToValue for TensorBuf {
    fn to_value(&self) -> LiveValue<'_> {
        Value::Tensor(self.as_view())
    }
}

impl FromValue for TensorBuf {
    fn from_value(value: OwnedValue) -> Result<TensorBuf, FromValueError> {
        match value {
            Value::Tensor(tensor) => Ok(tensor),
            other => Err(FromValueError::kind("a tensor", &other)),
        }
    }
}

/// A view for a value, or the reason why there is none.
#[cfg(any(feature = "candle", feature = "ndarray"))]
pub(crate) fn tensor_or_text<'a>(class: &str, view: Result<TensorView<'a>, LayoutError>) -> LiveValue<'a> {
    match view {
        Ok(view) => Value::Tensor(view),
        Err(error) => crate::python_class::opaque(class, format!("<not recordable: {error}>")),
    }
}

/// The storage from the tensor's first element to its last, as a row.
#[cfg(any(feature = "candle", feature = "ndarray"))]
pub(crate) fn reached(tensor: &TensorBuf) -> TensorBuf {
    let layout = tensor.layout();
    let len = layout.end().saturating_sub(layout.offset());
    Layout::new(&[len], &[1], layout.offset())
        .and_then(|row| tensor.with_layout(row))
        .expect("the elements from the first to the last are in the storage")
}

#[cfg(test)]
mod tests {
    use callbox_core::{Bytes, DType};

    use super::*;

    #[test]
    fn a_slice_is_borrowed_and_not_copied() {
        let elements = [1.0f32, 2.0];
        let view = tensor_of(&elements, &[2]).unwrap();
        assert_eq!(view.storage.id, callbox_core::StorageId::new(elements.as_ptr().addr()));
        assert!(matches!(tensor_of(&elements, &[3]), Err(LayoutError::OutOfStorage { .. })));
    }

    #[test]
    fn elements_come_out_in_row_major_order() {
        let tensor = TensorBuf::from_elements(DType::UInt8, &[6], (1..=6).collect()).unwrap();
        let transposed = tensor.with_layout(Layout::new(&[2, 2], &[1, 3], 1).unwrap()).unwrap();
        assert_eq!(elements_of::<u8>(&transposed).unwrap(), [2, 5, 3, 6]);
    }

    #[test]
    fn a_byte_that_is_no_bool_is_refused() {
        let tensor = TensorBuf::from_elements(DType::Bool, &[3], vec![0, 2, 1]).unwrap();
        assert!(matches!(elements_of::<bool>(&tensor), Err(FromValueError::Bits(DType::Bool))));
    }

    #[test]
    fn a_tensor_of_petabytes_is_not_copied_out() {
        let layout = Layout::new(&[1 << 50], &[0], 0).unwrap();
        let tensor = TensorBuf::new(DType::UInt8, layout, Bytes::from(vec![0])).unwrap();
        assert!(matches!(elements_of::<u8>(&tensor), Err(FromValueError::Elements(_))));
    }
}
