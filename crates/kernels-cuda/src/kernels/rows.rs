//! Tensors as kernels find them: bytes, and strides by which the elements lie in them.

use std::borrow::Cow;

use callbox_core::TensorBuf;
use callbox_core::tensor::Flags;

use super::memory::{Memory, Run};
use crate::error::CudaError;

/// A tensor's bytes on their way to the device.
#[derive(Debug)]
pub(crate) struct Laid<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// In elements, one for each dimension.
    pub(crate) strides: Vec<usize>,
}

impl<'a> Laid<'a> {
    /// Takes as much of a storage as a tensor reaches; of one that is marked, its elements.
    pub(crate) fn of(tensor: &'a TensorBuf) -> Laid<'a> {
        let Flags { neg, conj, .. } = tensor.flags();
        if neg || conj || tensor.numel() == 0 {
            return Laid::copied(tensor);
        }
        let (layout, item) = (tensor.layout(), tensor.dtype().item_size());
        let reached = &tensor.storage()[layout.offset() * item..layout.end() * item];
        Laid { bytes: Cow::Borrowed(reached), strides: layout.strides().to_vec() }
    }

    /// Takes a tensor whose last dimension's elements are neighbours; of any other its elements.
    pub(crate) fn neighbours(tensor: &'a TensorBuf) -> Laid<'a> {
        let laid = Laid::of(tensor);
        let are_neighbours = laid.strides.last() == Some(&1) || tensor.shape().last() == Some(&1);
        if are_neighbours { laid } else { Laid::copied(tensor) }
    }

    /// Takes a tensor's elements, row-major.
    pub(crate) fn copied(tensor: &TensorBuf) -> Laid<'static> {
        let mut stride = 1usize;
        let mut strides: Vec<_> = tensor
            .shape()
            .iter()
            .rev()
            .map(|&size| {
                let own = stride;
                stride = own.saturating_mul(size);
                own
            })
            .collect();
        strides.reverse();
        Laid { bytes: Cow::Owned(tensor.to_bytes()), strides }
    }
}

/// A tensor `[.., width]` on the device, as rows of its last dimension.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) memory: Memory,
    /// Distance of rows, in elements.
    pub(crate) stride: i64,
    /// Distance of a row's elements.
    pub(crate) element_stride: i64,
}

impl Rows {
    /// Uploads a tensor whose rows may lie at any distance of each other, if it is the same for all.
    pub(crate) fn upload(run: &Run<'_>, tensor: &TensorBuf) -> Result<Rows, CudaError> {
        Rows::of(run, tensor.shape(), Laid::of(tensor), || Laid::copied(tensor))
    }

    /// Uploads a tensor whose rows' elements are neighbours; of any other a copy.
    pub(crate) fn upload_neighbours(run: &Run<'_>, tensor: &TensorBuf) -> Result<Rows, CudaError> {
        Rows::of(run, tensor.shape(), Laid::neighbours(tensor), || Laid::copied(tensor))
    }

    fn of<'a>(
        run: &Run<'_>,
        shape: &[usize],
        laid: Laid<'a>,
        copied: impl FnOnce() -> Laid<'a>,
    ) -> Result<Rows, CudaError> {
        let leading = shape.len().saturating_sub(1);
        let joined = |laid: &Laid<'_>| joined_stride(&shape[..leading], &laid.strides[..leading]);
        let (laid, stride) = match joined(&laid) {
            Some(stride) => (laid, stride),
            None => {
                let laid = copied();
                let stride = joined(&laid).expect("row-major elements are rows at one distance");
                (laid, stride)
            }
        };
        let element_stride = laid.strides.last().copied().unwrap_or(1);
        let memory = run.upload(&laid.bytes)?;
        Ok(Rows { memory, stride: stride as i64, element_stride: element_stride as i64 })
    }
}

/// Returns the distance at which all places of some dimensions follow each other, if it is one.
fn joined_stride(shape: &[usize], strides: &[usize]) -> Option<usize> {
    let mut dims = shape.iter().zip(strides).filter(|(size, _)| **size != 1).rev();
    let Some((size, &first)) = dims.next() else { return Some(0) };
    let mut expected = first.saturating_mul(*size);
    for (size, &stride) in dims {
        if stride != expected {
            return None;
        }
        expected = stride.saturating_mul(*size);
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_that_follow_each_other_are_one() {
        for (shape, strides, expected) in [
            (&[][..], &[][..], Some(0)),
            (&[1, 1], &[7, 9], Some(0)),
            (&[5], &[12], Some(12)),
            (&[3, 5], &[60, 12], Some(12)),
            (&[3, 1, 5], &[60, 1, 12], Some(12)),
            (&[3, 5], &[61, 12], None),
            (&[3, 5], &[12, 36], None),
            (&[3, 5], &[0, 0], Some(0)),
            (&[3, 5], &[0, 12], None),
        ] {
            assert_eq!(joined_stride(shape, strides), expected, "{shape:?} {strides:?}");
        }
    }
}
