//! Memory that kernels read and write by its address.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{NonNull, copy_nonoverlapping};

/// Elements begin at multiples of this, as a device's allocations do: kernels load sixteen bytes at a time.
const ALIGNMENT: usize = 16;

/// An allocation of exactly so many bytes: the address sanitizer sees whoever leaves it.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    len: usize,
}

impl Memory {
    /// Allocates a copy of some bytes.
    pub fn new(bytes: &[u8]) -> Memory {
        let layout = layout(bytes.len());
        #[expect(unsafe_code, reason = "kernels write here behind the compiler's back")]
        // SAFETY: the layout has at least one byte, and the new allocation does not overlap the bytes.
        let start = unsafe {
            let start = NonNull::new(alloc(layout)).unwrap_or_else(|| handle_alloc_error(layout));
            copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len());
            start
        };
        Memory { start, len: bytes.len() }
    }

    /// Allocates bytes that no kernel leaves by accident: what is not written is seen.
    pub fn unwritten(len: usize) -> Memory {
        Memory::new(&vec![0xa5; len])
    }

    /// Returns the address of the first byte.
    pub fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Copies the bytes out.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        #[expect(unsafe_code, reason = "kernels write here behind the compiler's back")]
        // SAFETY: `start` is an allocation of `len` initialised bytes, and launches have ended by the time they
        // return.
        unsafe {
            copy_nonoverlapping(self.start.as_ptr(), bytes.as_mut_ptr(), self.len);
        }
        bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "kernels write here behind the compiler's back")]
        // SAFETY: allocated in `new` with this layout, and by nobody else freed.
        unsafe {
            dealloc(self.start.as_ptr(), layout(self.len));
        }
    }
}

/// An address of nothing is an address too.
fn layout(len: usize) -> Layout {
    Layout::from_size_align(len.max(1), ALIGNMENT).expect("a few bytes at a power of two")
}
