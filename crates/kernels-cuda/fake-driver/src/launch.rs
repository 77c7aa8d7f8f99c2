//! Launching kernels, which are functions of the host here.
#![expect(
    unsafe_code,
    reason = "a kernel is called by its address, and functions are looked up by their plain names"
)]

use std::ffi::{c_uint, c_void};

use crate::answer::{Answer, Code, INVALID_VALUE, NOT_SUPPORTED};
use crate::driver::{Handle, call_in_context};
use crate::emulation::{Emulation, LaunchFn};
use crate::pointer::parameters;
use crate::queue::{self, Operation};
use crate::stream;

/// Threads of a block.
pub(crate) const MAX_THREADS: u32 = 1024;
/// Blocks in each direction.
pub(crate) const MAX_GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
/// Bytes of shared memory that a launch may ask for unasked.
pub(crate) const DEFAULT_SHARED_BYTES: u32 = 48 * 1024;
/// Bytes of shared memory that a function may be allowed, on an H100.
pub(crate) const MAX_SHARED_BYTES: u32 = 227 * 1024;
const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];

/// A kernel with its parameters, as they were when it was launched.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    kernel: LaunchFn,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared_bytes: c_uint,
    parameters: Vec<Vec<u128>>,
}

impl Launch {
    /// Runs the kernel to its end; what it says went wrong is the code.
    pub(crate) fn run(&self, emulation: &Emulation) -> Answer {
        let mut parameters = self.parameters.clone();
        let mut places: Vec<*mut c_void> = parameters.iter_mut().map(|one| one.as_mut_ptr().cast()).collect();
        // SAFETY: whoever registered the kernel said by its sizes which parameters it takes, and these are they.
        unsafe {
            (self.kernel)(self.grid.as_ptr(), self.block.as_ptr(), self.shared_bytes, places.as_mut_ptr())
        };
        emulation.take_fault().map_or(Ok(()), Err)
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: Handle,
    kernel_parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    call_in_context("cuLaunchKernel", |driver, context| {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let key = stream::find(driver, context, stream)?;
        queue::check_capture(driver, key)?;
        let function = driver.modules.function(function)?;
        if !extra.is_null() {
            return Err(NOT_SUPPORTED);
        }
        check_extents(grid, block)?;
        if shared_bytes > function.max_shared_bytes {
            return Err(INVALID_VALUE);
        }
        let kernel = driver.emulation.kernel(&function.name)?;
        let parameters = parameters(kernel_parameters, &kernel.sizes)?;
        let launch = Launch { kernel: kernel.launch, grid, block, shared_bytes, parameters };
        queue::enqueue(driver, key, Operation::Launch(launch))
    })
}

fn check_extents(grid: [u32; 3], block: [u32; 3]) -> Answer {
    let within = |extents: [u32; 3], most: [u32; 3]| {
        extents.iter().zip(most).all(|(&extent, most)| (1..=most).contains(&extent))
    };
    let threads: u64 = block.iter().copied().map(u64::from).product();
    if within(grid, MAX_GRID) && within(block, MAX_BLOCK) && threads <= u64::from(MAX_THREADS) {
        Ok(())
    } else {
        Err(INVALID_VALUE)
    }
}
