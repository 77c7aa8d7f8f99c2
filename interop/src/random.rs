//! Random numbers that are the same in every run.

use callbox_core::DType;

use crate::tensor::Storage;

/// A generator (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Begins a sequence.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Draws 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Draws a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// Draws one of several.
    pub(crate) fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Draws a storage of so many elements; truth values are 0 or 1.
    pub(crate) fn storage(&mut self, dtype: DType, elements: usize) -> Storage {
        let mask = if dtype == DType::Bool { 1 } else { 0xff };
        Storage::new(self.bytes(elements * dtype.item_size(), mask))
    }

    /// Draws a storage without NaNs: torch changes their bits when it works out what a mark means.
    pub(crate) fn finite_storage(&mut self, dtype: DType, elements: usize) -> Storage {
        // A bit of every exponent lies there, whatever the float.
        Storage::new(self.bytes(elements * dtype.item_size(), !0x40))
    }

    fn bytes(&mut self, count: usize, mask: u8) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8 & mask).collect()
    }
}
