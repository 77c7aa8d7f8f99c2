//! The logical elements of a tensor as bytes: what two tensors must have in common to be equal bit for bit.

use crate::dtype::DType;
use crate::tensor::TensorBuf;

const PIECE: usize = 64 * 1024;

impl TensorBuf {
    /// Hands the logical elements out in row-major order, little endian, in pieces of at most 64 KiB of whole
    /// elements.
    ///
    /// Conjugate and negative marks are applied; sub-byte and quantised types give their stored bytes. The
    /// pieces are not bounded by the storage: see [`TensorBuf::check_expansion`].
    pub fn for_each_piece(&self, visit: &mut dyn FnMut(&[u8])) {
        let item_size = self.dtype().item_size();
        let mut piece = Vec::with_capacity(PIECE);
        for run in self.layout().runs() {
            let bytes = &self.storage()[run.start * item_size..];
            if run.stride == 1 && !self.flags().conj && !self.flags().neg {
                flush(&mut piece, visit);
                bytes[..run.len * item_size].chunks(PIECE).for_each(&mut *visit);
                continue;
            }
            for position in 0..run.len {
                if piece.len() + item_size > PIECE {
                    flush(&mut piece, visit);
                }
                let at = position * run.stride * item_size;
                let start = piece.len();
                piece.extend(&bytes[at..at + item_size]);
                self.apply_marks(&mut piece[start..]);
            }
        }
        flush(&mut piece, visit);
    }

    /// Copies the logical elements out as bytes; see [`TensorBuf::for_each_piece`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.for_each_piece(&mut |piece| bytes.extend(piece));
        bytes
    }

    /// Flips the sign bits that the conjugate and negative marks call for.
    fn apply_marks(&self, element: &mut [u8]) {
        if self.flags().neg {
            match self.dtype() {
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
        if self.flags().conj {
            let half = element.len() / 2;
            flip_sign(&mut element[half..]);
        }
    }
}

fn flush(piece: &mut Vec<u8>, visit: &mut dyn FnMut(&[u8])) {
    if !piece.is_empty() {
        visit(piece);
        piece.clear();
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
    use bytes::Bytes;

    use super::*;
    use crate::layout::Layout;
    use crate::tensor::Flags;

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
        let conj = tensor.clone().with_flags(Flags {
            conj: true,
            ..Flags::default()
        });
        let expected: Vec<u8> = [1f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(conj.to_bytes(), expected);

        let ints = TensorBuf::from_elements(DType::Int16, &[2], [5i16, -300].map(i16::to_le_bytes).concat())
            .unwrap();
        let neg = ints.with_flags(Flags {
            neg: true,
            ..Flags::default()
        });
        assert_eq!(neg.to_bytes(), [-5i16, 300].map(i16::to_le_bytes).concat());
    }

    #[test]
    fn long_runs_come_in_pieces() {
        let tensor = TensorBuf::from_elements(DType::UInt8, &[200_000], vec![7; 200_000]).unwrap();
        let mut sizes = Vec::new();
        tensor.for_each_piece(&mut |piece| sizes.push(piece.len()));
        assert_eq!(sizes, [65536, 65536, 65536, 3392]);
    }
}
