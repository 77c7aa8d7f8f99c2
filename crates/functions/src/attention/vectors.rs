//! Where queries, keys and values lie: one vector for each token and head of a strided tensor.

use callbox_core::{DTypeKind, ExecError, Run, TensorBuf};

use crate::kv_layout::KvLayout;
use crate::operand;

/// A float tensor as vectors of `width` elements, one for each page, slot and head.
///
/// Tokens that are not in pages are the slots of one page. Nothing is copied: a kernel reads a vector where it
/// lies, so a cache costs no more than its rows that a call uses.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// Name of the argument.
    name: &'static str,
    tensor: TensorBuf,
    /// Storage element of the first vector's first element.
    start: usize,
    page: Axis,
    slot: Axis,
    head: Axis,
    element: Axis,
}

/// A dimension: its size, and the distance of neighbours in elements of the storage.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    stride: usize,
}

impl Axis {
    const ONE: Axis = Axis { size: 1, stride: 0 };
}

/// Where a token lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its page; 0 where there are no pages.
    pub page: usize,
    /// Its place in the page.
    pub slot: usize,
}

impl Vectors {
    /// Reads `[heads, d]`: one token.
    pub(crate) fn of_token(name: &'static str, tensor: &TensorBuf) -> Result<Vectors, ExecError> {
        let [head, element] = axes(name, tensor, "[heads, d]")?;
        Vectors::new(name, tensor, 0, [Axis::ONE, Axis::ONE, head, element])
    }

    /// Reads `[tokens, heads, d]`, or with the heads first.
    pub(crate) fn of_tokens(
        name: &'static str,
        tensor: &TensorBuf,
        layout: KvLayout,
    ) -> Result<Vectors, ExecError> {
        let (slot, head, element) = match layout {
            KvLayout::Nhd => {
                let [slot, head, element] = axes(name, tensor, "[tokens, heads, d] (NHD)")?;
                (slot, head, element)
            }
            KvLayout::Hnd => {
                let [head, slot, element] = axes(name, tensor, "[heads, tokens, d] (HND)")?;
                (slot, head, element)
            }
        };
        Vectors::new(name, tensor, 0, [Axis::ONE, slot, head, element])
    }

    /// Reads keys or values in pages: `[pages, page_size, heads, d]`, or with the heads before the slots.
    ///
    /// Pages of one token may come without their dimension: `[pages, heads, d]`.
    pub(crate) fn of_pages(
        name: &'static str,
        tensor: &TensorBuf,
        layout: KvLayout,
    ) -> Result<Vectors, ExecError> {
        let expected = match layout {
            KvLayout::Nhd => "[pages, page_size, heads, d] (NHD)",
            KvLayout::Hnd => "[pages, heads, page_size, d] (HND)",
        };
        let [page, slot, head, element] = match tensor.shape().len() {
            3 => {
                axes(name, tensor, expected).map(|[page, head, element]| [page, Axis::ONE, head, element])?
            }
            _ => ordered(axes(name, tensor, expected)?, layout),
        };
        Vectors::new(name, tensor, 0, [page, slot, head, element])
    }

    /// Reads the keys and the values of `[pages, 2, page_size, heads, d]`, or with the heads before the slots.
    ///
    /// Pages of one token may come without their dimension: `[pages, 2, heads, d]`.
    pub(crate) fn of_page_pairs(
        name: &'static str,
        tensor: &TensorBuf,
        layout: KvLayout,
    ) -> Result<[Vectors; 2], ExecError> {
        let expected = match layout {
            KvLayout::Nhd => "[pages, 2, page_size, heads, d] (NHD), or a tuple of keys and values",
            KvLayout::Hnd => "[pages, 2, heads, page_size, d] (HND), or a tuple of keys and values",
        };
        let (pair, parts) = match tensor.shape().len() {
            4 => {
                let [page, pair, head, element] = axes(name, tensor, expected)?;
                (pair, [page, Axis::ONE, head, element])
            }
            _ => {
                let [page, pair, third, fourth, element] = axes(name, tensor, expected)?;
                (pair, ordered([page, third, fourth, element], layout))
            }
        };
        if pair.size != 2 {
            return Err(operand::wrong_shape(name, tensor.shape(), expected.to_owned()));
        }
        Ok([Vectors::new(name, tensor, 0, parts)?, Vectors::new(name, tensor, pair.stride, parts)?])
    }

    /// Puts names on the dimensions; the first vector lies `behind` elements behind the tensor's first.
    fn new(
        name: &'static str,
        tensor: &TensorBuf,
        behind: usize,
        [page, slot, head, element]: [Axis; 4],
    ) -> Result<Vectors, ExecError> {
        if tensor.dtype().kind() != DTypeKind::Float {
            return Err(operand::wrong_dtype(name, "a tensor of floats", tensor.dtype()));
        }
        tensor
            .check_expansion()
            .map_err(|source| ExecError::Elements { argument: name.to_owned(), source })?;
        Ok(Vectors {
            name,
            tensor: tensor.clone(),
            // Only where there is no element can this leave the storage: then nothing is read.
            start: tensor.layout().offset().saturating_add(behind),
            page,
            slot,
            head,
            element,
        })
    }

    /// Builds the error for a tensor whose shape does not fit.
    pub(crate) fn wrong_shape(&self, expected: String) -> ExecError {
        operand::wrong_shape(self.name, self.tensor.shape(), expected)
    }

    /// Returns the name of the argument that holds them.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the tensor that holds the vectors, and may hold others.
    pub fn tensor(&self) -> &TensorBuf {
        &self.tensor
    }

    /// Returns the number of pages: 1 where there are none.
    pub fn pages(&self) -> usize {
        self.page.size
    }

    /// Returns the number of tokens of a page.
    pub fn slots(&self) -> usize {
        self.slot.size
    }

    /// Returns the number of heads of a token.
    pub fn heads(&self) -> usize {
        self.head.size
    }

    /// Returns the number of elements of a vector.
    pub fn width(&self) -> usize {
        self.element.size
    }

    /// Returns the distances of neighbouring pages, slots, heads and elements, in elements of the storage; 0 for
    /// a dimension that the tensor does not have.
    pub fn strides(&self) -> [usize; 4] {
        [self.page, self.slot, self.head, self.element].map(|axis| axis.stride)
    }

    /// Returns the storage element at which the first vector begins.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Returns where a vector lies in the storage.
    ///
    /// # Panics
    ///
    /// If there is no such vector.
    pub fn run(&self, place: Place, head: usize) -> Run {
        assert!(
            place.page < self.page.size && place.slot < self.slot.size && head < self.head.size,
            "a vector that was not checked against the tensor"
        );
        let [page, slot, head_stride, stride] = self.strides();
        let start = self.start + place.page * page + place.slot * slot + head * head_stride;
        Run { start, len: self.element.size, stride }
    }
}

/// Puts the dimensions of a page into the order page, slot, head, element.
fn ordered([page, third, fourth, element]: [Axis; 4], layout: KvLayout) -> [Axis; 4] {
    match layout {
        KvLayout::Nhd => [page, third, fourth, element],
        KvLayout::Hnd => [page, fourth, third, element],
    }
}

fn axes<const N: usize>(name: &str, tensor: &TensorBuf, expected: &str) -> Result<[Axis; N], ExecError> {
    let layout = tensor.layout();
    let axes: Vec<Axis> =
        layout.shape().iter().zip(layout.strides()).map(|(&size, &stride)| Axis { size, stride }).collect();
    axes.try_into().map_err(|_| operand::wrong_shape(name, tensor.shape(), expected.to_owned()))
}
