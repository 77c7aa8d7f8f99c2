//! A library of emulated kernels as the fake driver opens one: what the compiled `.cu` sources export.
#![expect(unsafe_code, reason = "kernels are given addresses, and the table of them is C's")]

use std::ffi::{c_char, c_uint, c_void};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};

/// A kernel, as the driver reads it.
#[repr(C)]
#[derive(Debug)]
pub struct Kernel {
    name: *const c_char,
    launch: unsafe extern "C" fn(*const c_uint, *const c_uint, c_uint, *mut *mut c_void),
    param_sizes: *const usize,
    param_count: usize,
}

// SAFETY: it points to constants.
unsafe impl Sync for Kernel {}

static DOUBLE_SIZES: [usize; 2] = [8, 4];
static KERNELS: [Kernel; 2] = [
    Kernel {
        name: c"double_each".as_ptr(),
        launch: double_each,
        param_sizes: DOUBLE_SIZES.as_ptr(),
        param_count: 2,
    },
    Kernel { name: c"diverge".as_ptr(), launch: diverge, param_sizes: ptr::null(), param_count: 0 },
];
static DIVERGED: AtomicBool = AtomicBool::new(false);

/// Runs on one thread of the host for each of the grid.
unsafe extern "C" fn double_each(
    grid: *const c_uint,
    block: *const c_uint,
    _: c_uint,
    parameters: *mut *mut c_void,
) {
    // SAFETY: it is launched with these parameters, and extents have three numbers.
    let (elements, threads) = unsafe {
        let start = ptr::with_exposed_provenance_mut::<f32>((*parameters).cast::<usize>().read());
        let len = (*parameters.add(1)).cast::<u32>().read() as usize;
        (slice::from_raw_parts_mut(start, len), (*grid * *block) as usize)
    };
    elements.iter_mut().take(threads).for_each(|element| *element *= 2.);
}

/// Fails as threads do that do not all reach a barrier.
unsafe extern "C" fn diverge(_: *const c_uint, _: *const c_uint, _: c_uint, _: *mut *mut c_void) {
    DIVERGED.store(true, Ordering::Relaxed);
}

/// Gives the kernels, and writes how many there are.
///
/// # Safety
///
/// There is a place for the number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn callbox_kernels(count: *mut usize) -> *const Kernel {
    // SAFETY: the driver gives a place for it.
    unsafe { count.write(KERNELS.len()) };
    KERNELS.as_ptr()
}

/// Says what went wrong in the launch that ran last; null: nothing.
#[unsafe(no_mangle)]
pub extern "C" fn callbox_last_fault() -> *const c_char {
    if DIVERGED.swap(false, Ordering::Relaxed) {
        c"a barrier that not all threads reach".as_ptr()
    } else {
        ptr::null()
    }
}
