//! Values of a kernel's parameters.

#![expect(clippy::host_endian_bytes, reason = "the kernel that reads them runs on this machine")]

use std::marker::PhantomData;

use crate::memory::Memory;

/// The value of one parameter: a number, an address, or a structure of them, laid out as C does it.
///
/// Memory outlives the arguments that hold its address.
#[derive(Clone, Debug, Default)]
pub struct Argument<'a> {
    /// Whole words, so that they are aligned.
    words: Vec<u64>,
    /// Bytes so far.
    len: usize,
    /// The greatest alignment of a field.
    alignment: usize,
    memory: PhantomData<&'a Memory>,
}

impl<'a> Argument<'a> {
    /// Begins a structure without fields.
    pub fn structure() -> Argument<'a> {
        Argument::default()
    }

    /// Appends an address.
    pub fn memory(self, memory: &'a Memory) -> Argument<'a> {
        self.u64(memory.address())
    }

    /// Appends an address that lies so many bytes behind the first.
    pub fn memory_at(self, memory: &'a Memory, bytes: usize) -> Argument<'a> {
        self.u64(memory.address() + bytes as u64)
    }

    /// Appends an address, or null.
    pub fn optional(self, memory: Option<&'a Memory>) -> Argument<'a> {
        self.u64(memory.map_or(0, Memory::address))
    }

    /// Appends an integer of 64 bits.
    pub fn u64(self, value: u64) -> Argument<'a> {
        self.field(&value.to_ne_bytes())
    }

    /// Appends an integer of 64 bits.
    pub fn i64(self, value: i64) -> Argument<'a> {
        self.field(&value.to_ne_bytes())
    }

    /// Appends an integer of 32 bits.
    pub fn u32(self, value: u32) -> Argument<'a> {
        self.field(&value.to_ne_bytes())
    }

    /// Appends an integer of 32 bits.
    pub fn i32(self, value: i32) -> Argument<'a> {
        self.field(&value.to_ne_bytes())
    }

    /// Appends a float of 32 bits.
    pub fn f32(self, value: f32) -> Argument<'a> {
        self.field(&value.to_ne_bytes())
    }

    /// Returns the size in bytes, with the gap behind the last field.
    pub fn size(&self) -> usize {
        self.len.next_multiple_of(self.alignment.max(1))
    }

    /// Returns where the value lies.
    pub(crate) fn as_ptr(&self) -> *const u64 {
        self.words.as_ptr()
    }

    /// Appends a field that is aligned to its size.
    fn field(mut self, bytes: &[u8]) -> Argument<'a> {
        let place = self.len.next_multiple_of(bytes.len());
        self.len = place + bytes.len();
        self.alignment = self.alignment.max(bytes.len());
        self.words.resize(self.len.div_ceil(8), 0);
        let word = self.words[place / 8].to_ne_bytes();
        let mut changed = word;
        changed[place % 8..][..bytes.len()].copy_from_slice(bytes);
        self.words[place / 8] = u64::from_ne_bytes(changed);
        self
    }
}

impl<'a> From<&'a Memory> for Argument<'a> {
    fn from(memory: &'a Memory) -> Argument<'a> {
        Argument::structure().memory(memory)
    }
}

macro_rules! from_numbers {
    ($($number:ident),*) => {$(
        impl From<$number> for Argument<'_> {
            fn from(value: $number) -> Self {
                Argument::structure().$number(value)
            }
        }
    )*};
}

from_numbers!(u64, i64, u32, i32, f32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_as_a_c_compiler_lays_them() {
        let argument = Argument::structure().u32(1).u64(2).f32(1.0).u32(3).u32(4);
        assert_eq!(argument.size(), 32);
        assert_eq!(argument.words, [1, 2, 3 << 32 | u64::from(1f32.to_bits()), 4]);
        assert_eq!(Argument::from(7u32).size(), 4);
    }
}
