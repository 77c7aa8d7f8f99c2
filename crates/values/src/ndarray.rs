//! Arrays of ndarray.
//!
//! An array whose elements lie in memory without gaps, in whatever order of its axes, is borrowed, and its strides
//! are recorded. A view with gaps, with an axis that runs backwards or with one that is broadcast is copied in
//! row-major order: ndarray shows the bytes of such a view to unsafe code only.

use callbox_core::{Layout, LayoutError, LiveValue, OwnedValue, StorageId, TensorBuf, TensorView};
use ndarray::{
    ArcArray, Array, ArrayBase, ArrayD, ArrayRef, Data, Dimension, IxDyn, ShapeBuilder, ShapeError,
};

use crate::element::Element;
use crate::from_value::{FromValue, FromValueError};
use crate::tensor::{elements_of, reached, tensor_or_text};
use crate::to_value::ToValue;

/// An owned array, a shared one, a view.
impl<A: Element, S: Data<Elem = A>, D: Dimension> ToValue for ArrayBase<S, D> {
    fn to_value(&self) -> LiveValue<'_> {
        ArrayRef::to_value(self)
    }
}

impl<A: Element, D: Dimension> ToValue for ArrayRef<A, D> {
    fn to_value(&self) -> LiveValue<'_> {
        tensor_or_text("ndarray", borrowed(self).unwrap_or_else(|| copied(self)))
    }
}

/// Views the array as it lies, if it has no gaps and every axis runs forwards.
fn borrowed<A: Element, D: Dimension>(array: &ArrayRef<A, D>) -> Option<Result<TensorView<'_>, LayoutError>> {
    if array.is_empty() {
        // ndarray gives an empty array strides of zero, torch those of a contiguous one.
        return None;
    }
    let elements = array.as_slice_memory_order()?;
    let strides = array.strides().iter().map(|&stride| usize::try_from(stride));
    let strides = strides.collect::<Result<Vec<_>, _>>().ok()?;
    let layout = Layout::new(array.shape(), &strides, 0);
    Some(layout.and_then(|layout| TensorView::new(A::DTYPE, layout, bytemuck::cast_slice(elements))))
}

fn copied<A: Element, D: Dimension>(array: &ArrayRef<A, D>) -> Result<TensorView<'_>, LayoutError> {
    let copy = Copied(array.iter().copied().collect::<Vec<A>>());
    let id = StorageId::of(copy.as_ref());
    TensorView::frozen(A::DTYPE, Layout::contiguous(array.shape())?, id, copy)
}

/// Elements in row-major order.
struct Copied<A>(Vec<A>);

impl<A: Element> AsRef<[u8]> for Copied<A> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Takes a tensor of the array's element type and number of dimensions. Strides are kept, unless several
/// elements share a place: then the array is in row-major order.
impl<A: Element, D: Dimension> FromValue for Array<A, D> {
    fn from_value(value: OwnedValue) -> Result<Array<A, D>, FromValueError> {
        let tensor = TensorBuf::from_value(value)?;
        let array = match strided(&tensor)? {
            Some(array) => array,
            None => ArrayD::from_shape_vec(IxDyn(tensor.shape()), elements_of(&tensor)?).map_err(refused)?,
        };
        let rank = |_| FromValueError::Rank {
            expected: D::NDIM.unwrap_or_default(),
            shape: tensor.shape().to_vec(),
        };
        array.into_dimensionality().map_err(rank)
    }
}

impl<A: Element, D: Dimension> FromValue for ArcArray<A, D> {
    fn from_value(value: OwnedValue) -> Result<ArcArray<A, D>, FromValueError> {
        Array::from_value(value).map(Array::into_shared)
    }
}

/// Builds the array over a copy of all that the tensor reaches; `None` where ndarray has no such array.
fn strided<A: Element>(tensor: &TensorBuf) -> Result<Option<ArrayD<A>>, FromValueError> {
    let layout = tensor.layout();
    if layout.numel() == 0 {
        return Ok(None);
    }
    let shape = IxDyn(layout.shape()).strides(IxDyn(layout.strides()));
    Ok(ArrayD::from_shape_vec(shape, elements_of(&reached(tensor))?).ok())
}

fn refused(error: ShapeError) -> FromValueError {
    FromValueError::Library(Box::new(error))
}
