//! Building a tensor with the strides that it was recorded with.
//!
//! candle has no constructor that takes strides; its views come about by cutting, permuting and expanding. So a
//! contiguous tensor is looked for that the recorded one can be made of in these three steps.

use std::cmp::Reverse;

use callbox_core::{Layout, TensorBuf};
use candle_core::{DType, Device, Tensor};

use super::names::to_candle;
use super::tensor::refused;
use crate::from_value::FromValueError;
use crate::tensor::reached;

/// Builds the tensor in host memory; row-major where there is no such contiguous tensor.
pub(super) fn build(recorded: &TensorBuf) -> Result<Tensor, FromValueError> {
    let dtype = to_candle(recorded.dtype())?;
    let tensor = match Enclosing::of(recorded.layout()) {
        Some(enclosing) => enclosing.cut(recorded, dtype),
        None => {
            recorded.check_expansion().map_err(FromValueError::Elements)?;
            Tensor::from_raw_buffer(&recorded.to_bytes(), dtype, recorded.shape(), &Device::Cpu)
        }
    };
    tensor.map_err(refused)
}

/// A contiguous tensor that a recorded one is a part of.
#[derive(Debug, PartialEq)]
struct Enclosing {
    /// Dimensions of the recorded tensor by falling stride, the expanded ones last.
    order: Vec<usize>,
    /// A size in elements for each of them, and one more: what the innermost stride skips over.
    sizes: Vec<usize>,
    numel: usize,
}

impl Enclosing {
    /// Finds the tensor. `None`: the strides do not nest, or it would be more than twice as large as what the
    /// recorded one reaches.
    fn of(layout: &Layout) -> Option<Enclosing> {
        if layout.numel() == 0 {
            return None;
        }
        let (shape, strides) = (layout.shape(), layout.strides());
        let mut order: Vec<_> = (0..shape.len()).collect();
        // Of two equal strides the dimension of one element is the inner one.
        order.sort_by_key(|&dim| Reverse((strides[dim], shape[dim])));
        let mut sizes = Vec::with_capacity(order.len() + 1);
        let mut outer = None;
        for &dim in &order {
            let (size, stride) = (shape[dim], strides[dim]);
            if stride == 0 {
                sizes.push(1);
                continue;
            }
            let room = outer.map_or(size, |outer: usize| outer / stride);
            if outer.is_some_and(|outer| outer % stride != 0) || room < size {
                return None;
            }
            sizes.push(room);
            outer = Some(stride);
        }
        sizes.push(outer.unwrap_or(1));
        let numel = sizes.iter().try_fold(1usize, |numel, &size| numel.checked_mul(size))?;
        let reach = layout.end() - layout.offset();
        (numel <= reach.saturating_mul(2)).then_some(Enclosing { order, sizes, numel })
    }

    /// Cuts the recorded tensor out, puts its dimensions in order and expands those of stride zero.
    fn cut(&self, recorded: &TensorBuf, dtype: DType) -> candle_core::Result<Tensor> {
        let (shape, strides) = (recorded.shape(), recorded.layout().strides());
        let mut bytes = reached(recorded).to_bytes();
        bytes.resize(self.numel * recorded.dtype().item_size(), 0);
        let mut tensor = Tensor::from_raw_buffer(&bytes, dtype, &self.sizes, &Device::Cpu)?;
        let mut axes = vec![0; shape.len()];
        for (axis, &dim) in self.order.iter().enumerate() {
            axes[dim] = axis;
            if strides[dim] > 0 {
                tensor = tensor.narrow(axis, 0, shape[dim])?;
            }
        }
        let skipped = shape.len();
        tensor.narrow(skipped, 0, 1)?.squeeze(skipped)?.permute(axes)?.broadcast_as(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enclosing(shape: &[usize], strides: &[usize]) -> Option<Vec<usize>> {
        Enclosing::of(&Layout::new(shape, strides, 3).unwrap()).map(|enclosing| enclosing.sizes)
    }

    #[test]
    fn a_view_lies_in_a_contiguous_tensor() {
        for (shape, strides, sizes) in [
            (&[2, 3][..], &[3, 1][..], &[2, 3, 1][..]),
            (&[2, 3], &[1, 2], &[3, 2, 1]),
            (&[2, 3], &[5, 1], &[2, 5, 1]),
            (&[2, 3], &[0, 1], &[3, 1, 1]),
            (&[2, 3], &[0, 2], &[3, 1, 2]),
            (&[], &[], &[1]),
        ] {
            assert_eq!(enclosing(shape, strides).as_deref(), Some(sizes), "{shape:?} {strides:?}");
        }
    }

    #[test]
    fn overlapping_and_lone_far_strides_have_none() {
        for (shape, strides) in [([2, 3], [2, 1]), ([2, 3], [5, 2]), ([1, 3], [1 << 60, 1]), ([0, 3], [3, 1])]
        {
            assert_eq!(enclosing(&shape, &strides), None, "{shape:?} {strides:?}");
        }
    }
}
