//! The logical elements of a tensor as bytes: what two tensors must have in common to be equal bit for bit.

use std::convert::Infallible;

use crate::dtype::DType;
use crate::error::StageError;
use crate::layout::Layout;
use crate::tensor::{Flags, StorageBytes, TensorBuf, TensorView};

const PIECE: usize = 64 * 1024;

impl TensorBuf {
    /// Hands the logical elements out in row-major order, little endian, in pieces of at most 64 KiB of whole
    /// elements.
    ///
    /// Conjugate and negative marks are applied; sub-byte and quantised types give their stored bytes. The
    /// pieces are not bounded by the storage: see [`TensorBuf::check_expansion`].
    pub fn for_each_piece(&self, visit: &mut dyn FnMut(&[u8])) {
        let elements = Elements { dtype: self.dtype(), layout: self.layout(), flags: self.flags() };
        let Ok(()) = elements.for_each_piece::<Infallible>(self.storage(), 0, &mut |piece| {
            visit(piece);
            Ok(())
        });
    }

    /// Copies the logical elements out as bytes; see [`TensorBuf::for_each_piece`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.for_each_piece(&mut |piece| bytes.extend(piece));
        bytes
    }
}

impl TensorView<'_> {
    /// Hands the logical elements out as [`TensorBuf::for_each_piece`] does; the first error ends it.
    ///
    /// A contiguous tensor in device memory is read piece by piece. Any other is staged first, from the first
    /// element that it reaches to the last. Panics if the layout does not fit the storage.
    pub fn for_each_piece<E: From<StageError>>(
        &self,
        visit: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let elements = Elements { dtype: self.dtype, layout: &self.layout, flags: self.flags };
        let memory = match &self.storage.bytes {
            StorageBytes::Host(bytes) => return elements.for_each_piece(bytes, 0, visit),
            StorageBytes::Device(_) if self.layout.numel() == 0 => return Ok(()),
            StorageBytes::Device(memory) => memory,
        };
        let first = self.layout.offset();
        let start = first * self.dtype.item_size();
        let end = self.layout.end() * self.dtype.item_size();
        if self.layout.is_contiguous() && !elements.are_marked() {
            let mut staged = vec![0; PIECE.min(end - start)];
            for at in (start..end).step_by(PIECE) {
                let piece = &mut staged[..PIECE.min(end - at)];
                memory.read(at, piece)?;
                visit(piece)?;
            }
            return Ok(());
        }
        let mut staged = vec![0; end - start];
        memory.read(start, &mut staged)?;
        elements.for_each_piece(&staged, first, visit)
    }
}

/// How the bytes of a storage are to be read.
struct Elements<'a> {
    dtype: DType,
    layout: &'a Layout,
    flags: Flags,
}

impl Elements<'_> {
    fn are_marked(&self) -> bool {
        self.flags.conj || self.flags.neg
    }

    /// Walks a storage of which `storage` holds the elements from `first` on.
    fn for_each_piece<E>(
        &self,
        storage: &[u8],
        first: usize,
        visit: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let item_size = self.dtype.item_size();
        let mut piece = Vec::with_capacity(PIECE.min(self.layout.numel().saturating_mul(item_size)));
        for run in self.layout.runs() {
            let bytes = &storage[(run.start - first) * item_size..];
            if run.stride == 1 && !self.are_marked() {
                flush(&mut piece, visit)?;
                bytes[..run.len * item_size].chunks(PIECE).try_for_each(&mut *visit)?;
                continue;
            }
            for position in 0..run.len {
                if piece.len() + item_size > PIECE {
                    flush(&mut piece, visit)?;
                }
                let at = position * run.stride * item_size;
                let start = piece.len();
                piece.extend(&bytes[at..at + item_size]);
                self.apply_marks(&mut piece[start..]);
            }
        }
        flush(&mut piece, visit)
    }

    /// Flips the sign bits that the conjugate and negative marks call for.
    fn apply_marks(&self, element: &mut [u8]) {
        if self.flags.neg {
            match self.dtype {
                DType::Float64
                | DType::Float32
                | DType::Float16
                | DType::BFloat16
                | DType::Float8E4M3Fn
                | DType::Float8E5M2
                | DType::Float8E4M3FnUz
                | DType::Float8E5M2FnUz => flip_sign(element),
                DType::Complex32 | DType::Complex64 | DType::Complex128 => {
                    let (real, imaginary) = element.split_at_mut(element.len() / 2);
                    flip_sign(real);
                    flip_sign(imaginary);
                }
                DType::Int64 | DType::Int32 | DType::Int16 | DType::Int8 => negate(element),
                // torch sets the mark on none of these.
                DType::Float8E8M0Fnu
                | DType::Float4E2M1FnX2
                | DType::UInt64
                | DType::UInt32
                | DType::UInt16
                | DType::UInt8
                | DType::Bool
                | DType::QInt8
                | DType::QUInt8
                | DType::QInt32 => {}
            }
        }
        if self.flags.conj {
            let half = element.len() / 2;
            flip_sign(&mut element[half..]);
        }
    }
}

fn flush<E>(piece: &mut Vec<u8>, visit: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    if !piece.is_empty() {
        visit(piece)?;
        piece.clear();
    }
    Ok(())
}

fn flip_sign(little_endian: &mut [u8]) {
    if let Some(last) = little_endian.last_mut() {
        *last ^= 0x80;
    }
}

fn negate(little_endian: &mut [u8]) {
    let mut carry = true;
    for byte in little_endian {
        let (value, overflow) = (!*byte).overflowing_add(u8::from(carry));
        *byte = value;
        carry = overflow;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::device::Device;
    use crate::ports::DeviceMemory;
    use crate::statistics::Stats;

    #[test]
    fn a_transposed_tensor_gives_its_logical_order() {
        let layout = Layout::new(&[2, 3], &[1, 2], 0).unwrap();
        let tensor = TensorBuf::new(DType::UInt8, layout, Bytes::from(vec![0, 1, 2, 3, 4, 5])).unwrap();
        assert_eq!(tensor.to_bytes(), [0, 2, 4, 1, 3, 5]);
    }

    #[test]
    fn marks_flip_the_signs_they_stand_for() {
        let complex: Vec<u8> = [1f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = TensorBuf::from_elements(DType::Complex64, &[1], complex).unwrap();
        let conj = tensor.clone().with_flags(Flags { conj: true, ..Flags::default() });
        let expected: Vec<u8> = [1f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(conj.to_bytes(), expected);

        let ints = TensorBuf::from_elements(DType::Int16, &[2], [5i16, -300].map(i16::to_le_bytes).concat())
            .unwrap();
        let neg = ints.with_flags(Flags { neg: true, ..Flags::default() });
        assert_eq!(neg.to_bytes(), [-5i16, 300].map(i16::to_le_bytes).concat());
    }

    /// Device memory that is host memory, and never gives more than it is asked for.
    #[derive(Debug)]
    struct Staged(Vec<u8>);

    impl DeviceMemory for Staged {
        fn device(&self) -> Device {
            Device::Cuda(0)
        }

        fn byte_len(&self) -> usize {
            self.0.len()
        }

        fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), StageError> {
            out.copy_from_slice(&self.0[offset..offset + out.len()]);
            Ok(())
        }

        fn capturing(&self) -> bool {
            false
        }

        fn statistics(&self, _: &Layout) -> Option<Stats> {
            None
        }

        fn retain(&self) -> Option<Arc<dyn DeviceMemory>> {
            None
        }
    }

    #[test]
    fn a_tensor_in_device_memory_gives_the_same_elements_as_in_host_memory() {
        let storage: Vec<u8> = (0..400_000u32).map(|i| (i * 7) as u8).collect();
        let negative = Flags { neg: true, ..Flags::default() };
        for (layout, flags) in [
            (Layout::new(&[90_000], &[1], 5).unwrap(), Flags::default()),
            (Layout::new(&[90_000], &[1], 5).unwrap(), negative),
            (Layout::new(&[300, 200], &[1, 300], 7).unwrap(), Flags::default()),
            (Layout::new(&[0, 3], &[3, 1], 9).unwrap(), Flags::default()),
        ] {
            let host = TensorBuf::new(DType::Float32, layout, Bytes::from(storage.clone())).unwrap();
            let host = host.with_flags(flags);
            let memory = Staged(storage.clone());
            let mut view = host.as_view();
            view.storage.bytes = StorageBytes::Device(&memory);
            let mut bytes = Vec::<u8>::new();
            view.for_each_piece::<StageError>(&mut |piece| {
                assert!(piece.len() <= PIECE);
                bytes.extend(piece);
                Ok(())
            })
            .unwrap();
            assert!(bytes == host.to_bytes(), "{host:?}");
        }
    }

    #[test]
    fn long_runs_come_in_pieces() {
        let tensor = TensorBuf::from_elements(DType::UInt8, &[200_000], vec![7; 200_000]).unwrap();
        let mut sizes = Vec::new();
        tensor.for_each_piece(&mut |piece| sizes.push(piece.len()));
        assert_eq!(sizes, [65536, 65536, 65536, 3392]);
    }
}
