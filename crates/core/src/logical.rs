//! The logical elements of a tensor as bytes: what two tensors must have in common to be equal bit for bit.

use std::convert::Infallible;

use crate::dtype::DType;
use crate::error::StageError;
use crate::layout::{Layout, Run};
use crate::tensor::{Flags, StorageBytes, TensorBuf, TensorView};

const PIECE: usize = 64 * 1024;
/// Neighbouring elements that are at least as long are handed out where they lie.
const LONG_RUN: usize = 4 * 1024;
const CACHE_LINE: usize = 64;
/// Elements of a run that are copied before the next run has its turn.
const TILE: usize = 32;

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
        let mut runs = self.layout.runs();
        // All runs of a layout are alike in length and stride.
        let Some(Run { len, stride, .. }) = runs.clone().next() else {
            return Ok(());
        };
        let run_bytes = len * item_size;
        if stride == 1 && !self.are_marked() && run_bytes >= LONG_RUN {
            return runs.try_for_each(|run| {
                let start = (run.start - first) * item_size;
                storage[start..start + run_bytes].chunks(PIECE).try_for_each(&mut *visit)
            });
        }
        let runs_of_a_piece = (PIECE / run_bytes).max(1);
        let part = len.min(PIECE / item_size);
        let mut starts = Vec::with_capacity(runs_of_a_piece.min(runs.len()));
        let mut piece = vec![0; starts.capacity() * part * item_size];
        loop {
            starts.extend(runs.by_ref().take(runs_of_a_piece).map(|run| run.start - first));
            if starts.is_empty() {
                return Ok(());
            }
            for begin in (0..len).step_by(part) {
                let part = part.min(len - begin);
                let piece = &mut piece[..starts.len() * part * item_size];
                gather(item_size, storage, stride, &starts, piece);
                self.apply_marks(piece);
                visit(piece)?;
                starts.iter_mut().for_each(|start| *start += part * stride);
            }
            starts.clear();
        }
    }

    /// Flips the sign bits that the conjugate and negative marks call for.
    fn apply_marks(&self, elements: &mut [u8]) {
        let item_size = self.dtype.item_size();
        if self.flags.neg {
            match self.dtype {
                DType::Float64
                | DType::Float32
                | DType::Float16
                | DType::BFloat16
                | DType::Float8E4M3Fn
                | DType::Float8E5M2
                | DType::Float8E4M3FnUz
                | DType::Float8E5M2FnUz => elements.chunks_exact_mut(item_size).for_each(flip_sign),
                DType::Complex32 | DType::Complex64 | DType::Complex128 => {
                    elements.chunks_exact_mut(item_size / 2).for_each(flip_sign);
                }
                DType::Int64 | DType::Int32 | DType::Int16 | DType::Int8 => {
                    elements.chunks_exact_mut(item_size).for_each(negate);
                }
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
            // The sign is in the last byte of the imaginary part, which is the second.
            elements.chunks_exact_mut(item_size).for_each(flip_sign);
        }
    }
}

/// Copies runs of elements that lie `stride` apart to where they lie side by side, one run after the other;
/// `starts` has the first element of each.
fn gather(item_size: usize, storage: &[u8], stride: usize, starts: &[usize], out: &mut [u8]) {
    match item_size {
        1 => gather_items::<1>(storage, stride, starts, out),
        2 => gather_items::<2>(storage, stride, starts, out),
        4 => gather_items::<4>(storage, stride, starts, out),
        8 => gather_items::<8>(storage, stride, starts, out),
        16 => gather_items::<16>(storage, stride, starts, out),
        other => unreachable!("no dtype has elements of {other} bytes"),
    }
}

/// Where neighbours of a run lie on different cache lines, neighbours of the next runs lie on the same ones as
/// a rule (a transposed matrix), so the runs are copied side by side, a few elements of each at a time.
fn gather_items<const N: usize>(storage: &[u8], stride: usize, starts: &[usize], out: &mut [u8]) {
    let (items, _) = storage.as_chunks::<N>();
    let (out, _) = out.as_chunks_mut::<N>();
    let len = out.len() / starts.len();
    let tile = if stride * N < CACHE_LINE { len } else { TILE.min(len) };
    for begin in (0..len).step_by(tile) {
        for (start, row) in starts.iter().zip(out.chunks_exact_mut(len)) {
            let row = &mut row[begin..len.min(begin + tile)];
            let items = &items[start + begin * stride..];
            match stride {
                0 => row.fill(items[0]),
                1 => row.copy_from_slice(&items[..row.len()]),
                _ => row.iter_mut().zip(items.iter().step_by(stride)).for_each(|(out, item)| *out = *item),
            }
        }
    }
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
    use proptest::prelude::*;

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

    /// Reads a tensor element by element, each from its place by the definition of strides.
    fn one_by_one(tensor: &TensorBuf) -> Vec<u8> {
        let item_size = tensor.dtype().item_size();
        let mut places = vec![tensor.layout().offset()];
        for (&size, &stride) in tensor.shape().iter().zip(tensor.layout().strides()) {
            places = places.iter().flat_map(|place| (0..size).map(move |i| place + i * stride)).collect();
        }
        let item = |place: usize| &tensor.storage()[place * item_size..][..item_size];
        places.into_iter().flat_map(|place| item(place).iter().copied()).collect()
    }

    fn check_elements(dtype: DType, layout: Layout) {
        let storage: Vec<u8> = (0..layout.end() * dtype.item_size()).map(|i| (i * 31 % 251) as u8).collect();
        let tensor = TensorBuf::new(dtype, layout, Bytes::from(storage)).unwrap();
        let mut bytes = Vec::<u8>::new();
        tensor.for_each_piece(&mut |piece| {
            assert!(!piece.is_empty() && piece.len() <= PIECE);
            bytes.extend(piece);
        });
        assert!(bytes == one_by_one(&tensor), "{tensor:?}");
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_elements_in_their_order(
            dtype in prop::sample::select(DType::all().collect::<Vec<_>>()),
            dims in prop::collection::vec((0usize..60, 0usize..130), 0..4),
            offset in 0usize..10,
        ) {
            let (shape, strides): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
            check_elements(dtype, Layout::new(&shape, &strides, offset).unwrap());
        }
    }

    #[test]
    fn runs_that_are_longer_or_shorter_than_a_piece_lose_nothing() {
        for (shape, strides) in [
            ([300, 200], [1, 300]),
            ([3, 70_000], [1, 3]),
            ([70_000, 3], [1, 70_000]),
            ([2, 70_000], [7, 0]),
            ([40, 5_000], [5_001, 1]),
            ([2, 70_000], [70_000, 1]),
        ] {
            for dtype in [DType::UInt8, DType::BFloat16, DType::Float32, DType::Int64, DType::Complex128] {
                check_elements(dtype, Layout::new(&shape, &strides, 5).unwrap());
            }
        }
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
