//! Pointers that come from the caller of a C function, who vouches for them.
#![expect(unsafe_code, reason = "a C function is given pointers")]

use std::ffi::{CStr, c_char, c_void};
use std::slice;

use crate::answer::{Answer, INVALID_VALUE};

/// Where the caller wants an answer.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Writes the answer; fails where there is no place for it.
    pub(crate) fn write(self, value: T) -> Answer {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: whoever calls a function of the driver gives a place that can be written; it is not null.
        unsafe { self.0.write(value) };
        Ok(())
    }
}

/// A value of the caller's, in whose place they want another.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct InOut<T>(*mut T);

impl<T: Copy> InOut<T> {
    /// Reads what is there; fails where there is no place.
    pub(crate) fn read(self) -> Answer<T> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: whoever calls a function of the driver gives a value; its place is not null.
        Ok(unsafe { self.0.read() })
    }

    /// Writes the answer; fails where there is no place for it.
    pub(crate) fn write(self, value: T) -> Answer {
        Out(self.0).write(value)
    }
}

/// A text that ends with a zero.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Text(*const c_char);

impl Text {
    /// Copies the text; fails where there is none, or it is not UTF-8.
    pub(crate) fn read(self) -> Answer<String> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: whoever calls a function of the driver gives a text with its end; it is not null.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(str::to_owned).map_err(|_| INVALID_VALUE)
    }

    /// Tells whether the first bytes are these.
    pub(crate) fn begins_with(&self, magic: &[u8]) -> bool {
        // SAFETY: byte after byte is compared, and no further than to the first that differs, which the end does.
        !self.0.is_null()
            && magic
                .iter()
                .enumerate()
                .all(|(place, byte)| unsafe { self.0.add(place).cast::<u8>().read() } == *byte)
    }
}

/// Writes as much of `bytes` as fits into `len` bytes at `start`.
pub(crate) fn fill(start: *mut u8, len: usize, bytes: &[u8]) {
    let len = len.min(bytes.len());
    if !start.is_null() {
        // SAFETY: the caller of the control function gives a buffer of that many bytes.
        unsafe { slice::from_raw_parts_mut(start, len) }.copy_from_slice(&bytes[..len]);
    }
}

/// Copies a list of sizes.
pub(crate) fn sizes(start: *const usize, count: usize) -> Vec<usize> {
    if start.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller describes a kernel by that many sizes.
    unsafe { slice::from_raw_parts(start, count) }.to_vec()
}

/// Copies the parameters of a launch, one after the other, each at a place that suits any type.
pub(crate) fn parameters(start: *mut *mut c_void, sizes: &[usize]) -> Answer<Vec<Vec<u128>>> {
    if start.is_null() && !sizes.is_empty() {
        return Err(INVALID_VALUE);
    }
    let one = |(place, &size): (usize, &usize)| {
        // SAFETY: the caller gives a pointer for each parameter of the kernel.
        let source = unsafe { start.add(place).read() };
        if source.is_null() {
            return Err(INVALID_VALUE);
        }
        let mut copy = vec![0u128; size.div_ceil(size_of::<u128>())];
        // SAFETY: the parameter has `size` bytes, and the copy no fewer.
        unsafe { source.cast::<u8>().copy_to_nonoverlapping(copy.as_mut_ptr().cast(), size) };
        Ok(copy)
    };
    sizes.iter().enumerate().map(one).collect()
}
