//! Shape, strides and storage offset of a tensor, checked once and then trusted.

use thiserror::Error;

use crate::planted;

/// The most dimensions a tensor may have; torch's own limit.
pub const MAX_DIMS: usize = 64;

/// How the elements of a tensor lie in its storage. Everything counts elements.
///
/// Invariants, checked in [`Layout::new`]: as many strides as sizes, at most [`MAX_DIMS`] of them, and
/// neither the number of elements nor the highest reachable element overflows a `usize`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    shape: Box<[usize]>,
    strides: Box<[usize]>,
    offset: usize,
    numel: usize,
    /// Elements from the start of the storage to behind the last one that the tensor reaches.
    end: usize,
}

/// Why a shape, strides and an offset do not describe a tensor.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// The shape and the strides differ in length.
    #[error("{sizes} sizes but {strides} strides")]
    RankMismatch {
        /// Number of sizes.
        sizes: usize,
        /// Number of strides.
        strides: usize,
    },
    /// More dimensions than torch allows.
    #[error("{0} dimensions, more than the {MAX_DIMS} that a tensor can have")]
    TooManyDimensions(usize),
    /// The number of elements, or the highest element, does not fit into an address.
    #[error("sizes {shape:?} with strides {strides:?} at offset {offset} overflow the address space")]
    Overflow {
        /// Sizes in elements.
        shape: Vec<usize>,
        /// Strides in elements.
        strides: Vec<usize>,
        /// Offset in elements.
        offset: usize,
    },
    /// The tensor reaches past the end of its storage.
    #[error("reaches element {end} of a storage of {available} elements")]
    OutOfStorage {
        /// Elements up to behind the last reachable one.
        end: usize,
        /// Whole elements in the storage.
        available: usize,
    },
}

impl Layout {
    /// Checks sizes, strides and offset (all in elements) and keeps them.
    pub fn new(shape: &[usize], strides: &[usize], offset: usize) -> Result<Layout, LayoutError> {
        if shape.len() != strides.len() {
            return Err(LayoutError::RankMismatch { sizes: shape.len(), strides: strides.len() });
        }
        if shape.len() > MAX_DIMS {
            return Err(LayoutError::TooManyDimensions(shape.len()));
        }
        let overflow = || LayoutError::Overflow { shape: shape.to_vec(), strides: strides.to_vec(), offset };
        let numel = count(shape).ok_or_else(overflow)?;
        let end = if numel == 0 { 0 } else { end(shape, strides, offset).ok_or_else(overflow)? };
        Ok(Layout { shape: shape.into(), strides: strides.into(), offset, numel, end })
    }

    /// Builds the layout of a row-major tensor at the start of its storage.
    pub fn contiguous(shape: &[usize]) -> Result<Layout, LayoutError> {
        let strides = row_major_strides(shape).ok_or_else(|| LayoutError::Overflow {
            shape: shape.to_vec(),
            strides: Vec::new(),
            offset: 0,
        })?;
        Layout::new(shape, &strides, 0)
    }

    /// Returns the sizes in elements, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the strides in elements, outermost first.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// Returns the storage offset in elements.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the number of logical elements; an expanded tensor has more than its storage.
    pub fn numel(&self) -> usize {
        self.numel
    }

    /// Returns the number of storage elements up to behind the last one that the tensor reaches.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Tells whether the elements lie in row-major order without gaps, as torch's `is_contiguous` says it.
    pub fn is_contiguous(&self) -> bool {
        is_contiguous(&self.shape, &self.strides)
    }

    /// Tells whether each storage element up to the last belongs to exactly one logical element: a contiguous
    /// tensor with its dimensions in any order.
    pub fn is_dense(&self) -> bool {
        let mut dims: Vec<_> = self.strides.iter().zip(&self.shape).filter(|(_, size)| **size != 1).collect();
        dims.sort_unstable();
        let mut expected = 1;
        self.numel == 0
            || dims.into_iter().all(|(&stride, &size)| {
                let fits = stride == expected;
                expected *= size;
                fits
            })
    }

    /// Fails if a storage of `available` elements is too small for this layout.
    pub fn check_storage(&self, available: usize) -> Result<(), LayoutError> {
        if self.end > available && !planted::bug("reach_unchecked") {
            return Err(LayoutError::OutOfStorage { end: self.end, available });
        }
        Ok(())
    }

    /// Walks the logical elements in row-major order as runs of equal stride.
    pub fn runs(&self) -> Runs {
        Runs::new(self)
    }
}

/// A stretch of logical elements at a fixed distance from each other in the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Storage element of the first one.
    pub start: usize,
    /// Number of elements.
    pub len: usize,
    /// Distance between neighbours, in elements.
    pub stride: usize,
}

/// Iterator over the [`Run`]s of a layout; neighbouring dimensions that lie as one are walked as one. All runs
/// of a layout are alike in length and stride.
#[derive(Clone, Debug)]
pub struct Runs {
    outer: Vec<(usize, usize)>,
    index: Vec<usize>,
    start: usize,
    inner: (usize, usize),
    left: usize,
}

impl Runs {
    fn new(layout: &Layout) -> Runs {
        if layout.numel == 0 {
            // The other sizes may be of any magnitude: nothing is multiplied.
            return Runs { outer: Vec::new(), index: Vec::new(), start: 0, inner: (1, 1), left: 0 };
        }
        let mut dims: Vec<(usize, usize)> = Vec::with_capacity(layout.shape.len());
        for (&size, &stride) in layout.shape.iter().zip(&layout.strides) {
            if size == 1 {
                continue;
            }
            match dims.last_mut() {
                Some((outer_size, outer_stride)) if Some(*outer_stride) == stride.checked_mul(size) => {
                    *outer_size *= size;
                    *outer_stride = stride;
                }
                _ => dims.push((size, stride)),
            }
        }
        let inner = dims.pop().unwrap_or((1, 1));
        let left = layout.numel / inner.0;
        Runs { index: vec![0; dims.len()], outer: dims, start: layout.offset, inner, left }
    }
}

impl Iterator for Runs {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let run = Run { start: self.start, len: self.inner.0, stride: self.inner.1 };
        if self.left > 0 {
            for (position, &(size, stride)) in self.index.iter_mut().zip(&self.outer).rev() {
                *position += 1;
                self.start += stride;
                if *position < size {
                    break;
                }
                self.start -= stride * size;
                *position = 0;
            }
        }
        Some(run)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Runs {}

/// The rule of [`Layout::is_contiguous`], for sizes and strides that may be anything.
pub(crate) fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    if shape.contains(&0) {
        return true;
    }
    let mut expected: usize = 1;
    for (&size, &stride) in shape.iter().zip(strides).rev() {
        if size != 1 && stride != expected {
            return false;
        }
        expected = expected.saturating_mul(size);
    }
    true
}

/// Returns the strides of a row-major tensor as torch gives them: a size of zero counts as one.
fn row_major_strides(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1; shape.len()];
    let mut stride: usize = 1;
    for (slot, &size) in strides.iter_mut().zip(shape).rev() {
        *slot = stride;
        stride = stride.checked_mul(size.max(1))?;
    }
    Some(strides)
}

/// Multiplies the sizes; a zero anywhere gives zero even where the others would overflow.
fn count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    if planted::bug("unchecked_product") {
        return Some(shape.iter().fold(1usize, |product, &size| product.wrapping_mul(size)));
    }
    shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
}

fn end(shape: &[usize], strides: &[usize], offset: usize) -> Option<usize> {
    let mut last = offset;
    for (&size, &stride) in shape.iter().zip(strides) {
        last = last.checked_add((size - 1).checked_mul(stride)?)?;
    }
    last.checked_add(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every logical element's place in the storage, by the definition.
    fn places(layout: &Layout) -> Vec<usize> {
        let mut places = vec![layout.offset()];
        for (&size, &stride) in layout.shape().iter().zip(layout.strides()) {
            places = places.iter().flat_map(|place| (0..size).map(move |i| place + i * stride)).collect();
        }
        places
    }

    fn walked(layout: &Layout) -> Vec<usize> {
        layout.runs().flat_map(|run| (0..run.len).map(move |i| run.start + i * run.stride)).collect()
    }

    proptest! {
        #[test]
        fn runs_visit_the_elements_in_row_major_order(
            dims in prop::collection::vec((0usize..5, 0usize..9), 0..5),
            offset in 0usize..10,
        ) {
            let (shape, strides): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
            let layout = Layout::new(&shape, &strides, offset).unwrap();
            prop_assert_eq!(walked(&layout), places(&layout));
            let reach = places(&layout).into_iter().max().map_or(0, |last| last + 1);
            prop_assert_eq!(layout.end(), reach);
        }

        #[test]
        fn a_contiguous_layout_is_one_run(shape in prop::collection::vec(1usize..6, 0..5)) {
            let layout = Layout::contiguous(&shape).unwrap();
            prop_assert!(layout.is_contiguous());
            prop_assert_eq!(layout.runs().count(), 1);
        }
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let huge = 1usize << 62;
        assert!(matches!(Layout::contiguous(&[huge, 8]), Err(LayoutError::Overflow { .. })));
        assert!(matches!(Layout::new(&[3], &[usize::MAX], 0), Err(LayoutError::Overflow { .. })));
        // Expanded, no element is far away: the number of elements alone overflows, and wraps to none.
        assert!(matches!(Layout::new(&[huge, 4, 2], &[0; 3], 0), Err(LayoutError::Overflow { .. })));
        assert!(matches!(Layout::new(&[1; 65], &[1; 65], 0), Err(LayoutError::TooManyDimensions(65))));
    }

    #[test]
    fn an_empty_tensor_reaches_nothing_however_large_its_other_sizes_and_its_offset() {
        let layout = Layout::new(&[0, 1 << 62, 1 << 62], &[1, 1, 1], 3).unwrap();
        assert_eq!((layout.numel(), layout.end(), layout.offset()), (0, 0, 3));
        assert_eq!(layout.check_storage(0), Ok(()));
    }

    #[test]
    fn dense_layouts_are_permutations_of_contiguous_ones() {
        for (shape, strides, dense) in [
            ([2, 3, 4], [12, 4, 1], true),
            ([2, 3, 4], [1, 8, 2], true),
            ([2, 1, 4], [1, 99, 2], true),
            ([2, 2, 1], [3, 0, 1], false),
            ([2, 3, 4], [24, 4, 1], false),
        ] {
            assert_eq!(Layout::new(&shape, &strides, 0).unwrap().is_dense(), dense, "{shape:?} {strides:?}");
        }
    }

    #[test]
    fn u54_a_stride_of_zero_reaches_one_element() {
        let layout = Layout::new(&[1 << 40], &[0], 0).unwrap();
        assert_eq!(layout.end(), 1);
        assert_eq!(layout.check_storage(0), Err(LayoutError::OutOfStorage { end: 1, available: 0 }));
    }
}
