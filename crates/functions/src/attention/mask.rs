//! Which keys a query sees.

use std::ops::Range;

use callbox_core::{Bound, DType, ExecError};

use crate::operand;

/// The stretch of keys around a query's own place that it sees, both ends included; `None`: no bound.
///
/// Query `i` of `n` stands at the place of key `i + keys - n`: the last query at the last key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Keys before its own place.
    pub left: Option<i64>,
    /// Keys behind its own place; 0 is causal.
    pub right: Option<i64>,
}

impl Bounds {
    /// Returns the keys that query `query` of `queries` sees. Both ends grow with the query.
    pub fn of(self, query: usize, queries: usize, keys: usize) -> Range<usize> {
        let last = keys as i64;
        let own = query as i64 + last - queries as i64;
        let start = self.left.map_or(0, |left| own.saturating_sub(left));
        let end = self.right.map_or(last, |right| own.saturating_add(right).saturating_add(1));
        let (start, end) = (start.clamp(0, last), end.clamp(0, last));
        start as usize..end.max(start) as usize
    }
}

/// The masks of a batch, one bit for each query and key; set: the query sees the key.
#[derive(Clone, Debug)]
pub(crate) struct CustomMask {
    /// Least significant bit first; each sequence starts at a fresh byte.
    bytes: Vec<u8>,
    /// First byte of each sequence.
    starts: Vec<usize>,
}

impl CustomMask {
    /// Reads `packed_custom_mask`, or else `custom_mask`, for sequences of so many queries and keys.
    ///
    /// `custom_mask` holds a row-major block `[queries, keys]` for each sequence, one behind the other, in
    /// tensors of any shape and real dtype. `packed_custom_mask` (uint8) holds the same as bits, least
    /// significant first, each block filled up to whole bytes.
    pub(crate) fn read(
        arguments: &Bound<'_>,
        blocks: &[(usize, usize)],
    ) -> Result<Option<CustomMask>, ExecError> {
        if arguments.optional_tensor("packed_custom_mask")?.is_some() {
            return CustomMask::read_packed(arguments, blocks).map(Some);
        }
        if arguments.optional_tensor("custom_mask")?.is_some() {
            return CustomMask::pack(arguments, blocks).map(Some);
        }
        Ok(None)
    }

    fn read_packed(arguments: &Bound<'_>, blocks: &[(usize, usize)]) -> Result<CustomMask, ExecError> {
        const NAME: &str = "packed_custom_mask";
        let tensor = arguments.tensor(NAME)?;
        if tensor.dtype() != DType::UInt8 {
            return Err(operand::wrong_dtype(NAME, "a tensor of uint8", tensor.dtype()));
        }
        let meaning = "one bit for each query and key, in whole bytes for each sequence";
        expect_numel(arguments, NAME, total(blocks, packed_len), meaning)?;
        Ok(CustomMask { bytes: operand::bytes(NAME, tensor)?.to_bytes(), starts: starts(blocks) })
    }

    fn pack(arguments: &Bound<'_>, blocks: &[(usize, usize)]) -> Result<CustomMask, ExecError> {
        const NAME: &str = "custom_mask";
        let meaning = "queries x keys of each sequence";
        expect_numel(arguments, NAME, total(blocks, usize::saturating_mul), meaning)?;
        let visible = arguments.f32s(NAME)?;
        let mut bytes = Vec::with_capacity(total(blocks, packed_len));
        let mut rest = visible.as_slice();
        for &(queries, keys) in blocks {
            let (block, behind) = rest.split_at(queries * keys);
            rest = behind;
            bytes.extend(block.chunks(8).map(|eight| {
                let bits = eight.iter().enumerate();
                bits.fold(0, |byte, (bit, &value)| byte | u8::from(value != 0.0) << bit)
            }));
        }
        Ok(CustomMask { bytes, starts: starts(blocks) })
    }

    /// Returns the mask of one sequence.
    pub(crate) fn of(&self, sequence: usize) -> MaskBits<'_> {
        MaskBits(&self.bytes[self.starts[sequence]..])
    }
}

/// The mask of one sequence: a bit for each pair of query and key, row-major; set: the query sees the key.
#[derive(Clone, Copy, Debug)]
pub struct MaskBits<'a>(&'a [u8]);

impl<'a> MaskBits<'a> {
    /// Tells whether the pair at this place of the block `[queries, keys]` is visible.
    // One look for each logit: a call would cost more than it.
    #[inline]
    pub fn sees(self, place: usize) -> bool {
        self.0[place / 8] >> (place % 8) & 1 == 1
    }

    /// Returns the bits, the least significant of a byte first; behind the last pair lies anything.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

fn packed_len(queries: usize, keys: usize) -> usize {
    queries.saturating_mul(keys).div_ceil(8)
}

/// Sums over the blocks; saturates, so that a sum beyond memory equals no tensor's size.
fn total(blocks: &[(usize, usize)], len: fn(usize, usize) -> usize) -> usize {
    blocks.iter().fold(0, |sum: usize, &(queries, keys)| sum.saturating_add(len(queries, keys)))
}

fn starts(blocks: &[(usize, usize)]) -> Vec<usize> {
    let mut start = 0;
    let mut next = |&(queries, keys): &(usize, usize)| {
        let own = start;
        start += packed_len(queries, keys);
        own
    };
    blocks.iter().map(&mut next).collect()
}

fn expect_numel(arguments: &Bound<'_>, name: &str, numel: usize, meaning: &str) -> Result<(), ExecError> {
    let tensor = arguments.tensor(name)?;
    if tensor.numel() == numel {
        return Ok(());
    }
    Err(operand::wrong_shape(name, tensor.shape(), format!("{numel} elements, {meaning}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(left: Option<i64>, right: Option<i64>, queries: usize, keys: usize) -> Vec<Range<usize>> {
        let bounds = Bounds { left, right };
        (0..queries).map(|query| bounds.of(query, queries, keys)).collect()
    }

    #[test]
    fn without_bounds_every_key_is_seen() {
        assert_eq!(seen(None, None, 2, 3), [0..3, 0..3]);
    }

    #[test]
    fn causal_queries_are_aligned_to_the_end_of_the_keys() {
        assert_eq!(seen(None, Some(0), 2, 4), [0..3, 0..4]);
        // More queries than keys: the first see nothing.
        assert_eq!(seen(None, Some(0), 3, 1), [0..0, 0..0, 0..1]);
    }

    #[test]
    fn a_window_counts_the_keys_before_the_own_one() {
        assert_eq!(seen(Some(1), Some(0), 3, 4), [0..2, 1..3, 2..4]);
        assert_eq!(seen(Some(0), None, 2, 4), [2..4, 3..4]);
        assert_eq!(seen(Some(0), Some(1), 3, 4), [1..3, 2..4, 3..4]);
    }

    #[test]
    fn bounds_of_any_size_do_not_overflow() {
        assert_eq!(seen(Some(i64::MAX), Some(i64::MAX), 2, 2), [0..2, 0..2]);
    }
}
