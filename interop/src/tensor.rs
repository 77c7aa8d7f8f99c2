//! A tensor by its parts, and what it means element by element.
//!
//! The meaning is worked out by the plainest code there is, without the core's layouts: it is what the files
//! that callbox writes are measured by.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use callbox_core::{Bytes, DType, DTypeKind, Flags, Layout, StorageId, TensorView};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

/// Bytes that several tensors may share.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    number: usize,
    bytes: Bytes,
}

/// A tensor over a storage. Sizes, strides and the offset count elements.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) offset: usize,
    pub(crate) storage: Storage,
    pub(crate) flags: Flags,
}

impl Storage {
    /// Takes bytes, as a storage unlike all others.
    pub(crate) fn new(bytes: Vec<u8>) -> Storage {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        Storage { number: NUMBER.fetch_add(1, Ordering::Relaxed), bytes: Bytes::from(bytes) }
    }

    /// Returns the number of bytes.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }
}

impl Tensor {
    /// Builds a row-major tensor at the beginning of a storage.
    pub(crate) fn contiguous(dtype: DType, shape: &[usize], storage: &Storage) -> Tensor {
        Tensor {
            dtype,
            shape: shape.to_vec(),
            strides: row_major(shape),
            offset: 0,
            storage: storage.clone(),
            flags: Flags::default(),
        }
    }

    /// Returns the tensor as an application shows it to the recorder.
    pub(crate) fn view(&self) -> Result<TensorView<'static>> {
        let layout = Layout::new(&self.shape, &self.strides, self.offset)?;
        let id = StorageId::new(self.storage.number);
        let view = TensorView::held(self.dtype, layout, id, self.storage.bytes.clone())?;
        Ok(TensorView { flags: self.flags, ..view })
    }

    /// Describes the tensor for the peers.
    pub(crate) fn describe(&self) -> Json {
        json!({
            "dtype": self.dtype.to_string(),
            "shape": self.shape,
            "stride": self.strides,
            "storage_offset": self.offset,
            "requires_grad": self.flags.requires_grad && can_be_loaded_with_gradients(self.dtype),
            "conj": self.flags.conj,
            "neg": self.flags.neg,
            "storage": self.storage.number,
            "storage_bytes": self.storage.byte_len(),
            "sha256": hex(&Sha256::digest(self.elements())),
        })
    }

    /// Returns the logical elements in row-major order, little endian, with the marks applied.
    fn elements(&self) -> Vec<u8> {
        let size = self.dtype.item_size();
        let count: usize = self.shape.iter().product();
        let mut elements = Vec::with_capacity(count * size);
        for number in 0..count {
            let (mut rest, mut place) = (number, self.offset);
            for (length, stride) in self.shape.iter().zip(&self.strides).rev() {
                place += rest % length * stride;
                rest /= length;
            }
            let start = elements.len();
            elements.extend(&self.storage.bytes[place * size..][..size]);
            self.apply_marks(&mut elements[start..]);
        }
        elements
    }

    /// Flips the signs that the marks stand for; a sign is the highest bit of a number's last byte.
    fn apply_marks(&self, element: &mut [u8]) {
        let last = element.len() - 1;
        if self.flags.neg {
            element[last] ^= 0x80;
            if self.dtype.kind() == DTypeKind::Complex {
                element[last / 2] ^= 0x80;
            }
        }
        if self.flags.conj {
            element[last] ^= 0x80;
        }
    }
}

/// Tells whether torch can load a tensor that is marked as wanting gradients: it refuses its own files where the
/// dtype has no storage class (torch 2.15, `_rebuild_tensor_v3`), so the mark has to be left out of ours.
fn can_be_loaded_with_gradients(dtype: DType) -> bool {
    match dtype {
        DType::Float64 | DType::Float32 | DType::Float16 | DType::BFloat16 => true,
        dtype => matches!(dtype, DType::Complex64 | DType::Complex128),
    }
}

/// Returns the strides of a row-major tensor as torch gives them: a size of 0 counts as 1.
pub(crate) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim].max(1);
    }
    strides
}

/// Spells a hash.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_follow_strides_offset_and_marks() {
        let storage = Storage::new((0..8).collect());
        let plain = Tensor::contiguous(DType::UInt8, &[2, 2], &storage);
        assert_eq!(plain.elements(), [0, 1, 2, 3]);
        let turned = Tensor { strides: vec![1, 3], offset: 2, ..plain };
        assert_eq!(turned.elements(), [2, 5, 3, 6]);

        let number = Tensor::contiguous(DType::Complex64, &[], &storage);
        let marked = |conj, neg| {
            let flags = Flags { conj, neg, requires_grad: false };
            Tensor { flags, ..number.clone() }.elements()
        };
        assert_eq!(marked(true, false), [0, 1, 2, 3, 4, 5, 6, 0x87]);
        assert_eq!(marked(false, true), [0, 1, 2, 0x83, 4, 5, 6, 0x87]);
        assert_eq!(marked(true, true), [0, 1, 2, 0x83, 4, 5, 6, 7]);
    }
}
