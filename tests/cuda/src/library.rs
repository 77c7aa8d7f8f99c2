//! The emulated kernels: found in the shared library that `cargo xtask cuda` builds.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CStr, c_char};
use std::slice;
use std::sync::LazyLock;

use libloading::os::unix::{Library as SharedLibrary, RTLD_LOCAL, RTLD_NOW};

use crate::argument::Argument;

/// Names the shared library.
pub const LIBRARY_VARIABLE: &str = "CALLBOX_EMULATED_KERNELS";

/// A row of the table in the library; `emulation/kernels.h` has the same.
#[repr(C)]
struct Row {
    name: *const c_char,
    launch: extern "C" fn(*const u32, *const u32, u32, *const *const u64),
    param_sizes: *const usize,
    param_count: usize,
}

/// The kernels of a library.
#[derive(Debug)]
pub struct Library {
    kernels: BTreeMap<String, Kernel>,
    last_fault: extern "C" fn() -> *const c_char,
}

#[derive(Debug)]
struct Kernel {
    launch: extern "C" fn(*const u32, *const u32, u32, *const *const u64),
    param_sizes: Vec<usize>,
}

/// How many threads run a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Blocks, in three dimensions.
    pub grid: [u32; 3],
    /// Threads of a block, in three dimensions.
    pub block: [u32; 3],
    /// Bytes of memory that a block's threads share, beside what the kernel declares.
    pub shared_bytes: u32,
}

impl Launch {
    /// Describes a launch in one dimension without further shared memory.
    pub fn new(blocks: usize, threads: u32) -> Launch {
        let blocks = u32::try_from(blocks).expect("a test has few blocks");
        Launch { grid: [blocks, 1, 1], block: [threads, 1, 1], shared_bytes: 0 }
    }
}

/// Returns the library that the environment names.
///
/// # Panics
///
/// If it names none, or none that can be loaded: a test that did not run must not pass.
pub fn emulated() -> &'static Library {
    static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "these tests are programs of their own")]
        let path = env::var_os(LIBRARY_VARIABLE).unwrap_or_else(|| {
            panic!("{LIBRARY_VARIABLE} names no library: run these tests with `cargo xtask cuda`")
        });
        Library::load(&path).unwrap_or_else(|error| panic!("failed to load {}: {error}", path.display()))
    });
    &LIBRARY
}

impl Library {
    /// Loads a library for good.
    fn load(path: &std::ffi::OsStr) -> Result<Library, libloading::Error> {
        #[expect(unsafe_code, reason = "what the library exports is known by convention only")]
        // SAFETY: the library is built from this workspace's sources, whose functions have these types and whose
        // table lives as long as the library, which is never closed.
        unsafe {
            let library = SharedLibrary::open(Some(path), RTLD_NOW | RTLD_LOCAL)?;
            let table: extern "C" fn(*mut usize) -> *const Row = *library.get(b"callbox_kernels")?;
            let last_fault = *library.get(b"callbox_last_fault")?;
            std::mem::forget(library);
            let mut count = 0;
            let rows = table(&raw mut count);
            let kernels = slice::from_raw_parts(rows, count).iter().map(|row| {
                let sizes = slice::from_raw_parts(row.param_sizes, row.param_count).to_vec();
                let name = CStr::from_ptr(row.name).to_string_lossy().into_owned();
                (name, Kernel { launch: row.launch, param_sizes: sizes })
            });
            Ok(Library { kernels: kernels.collect(), last_fault })
        }
    }

    /// Iterates over the kernels' names and the sizes of their parameters, in bytes.
    pub fn kernels(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.kernels.iter().map(|(name, kernel)| (name.as_str(), kernel.param_sizes.as_slice()))
    }

    /// Runs a kernel to its end.
    ///
    /// `Err`: there is none of this name, the arguments are not as many and as large as its parameters, or the
    /// emulation found a fault, such as threads that wait for each other at different places.
    pub fn launch(&self, name: &str, launch: Launch, arguments: &[Argument<'_>]) -> Result<(), String> {
        let kernel = self.kernels.get(name).ok_or_else(|| format!("there is no kernel {name}"))?;
        let sizes: Vec<usize> = arguments.iter().map(Argument::size).collect();
        if sizes != kernel.param_sizes {
            let sizes_of_parameters = &kernel.param_sizes;
            return Err(format!(
                "kernel {name} has parameters of {sizes_of_parameters:?} bytes, and was given {sizes:?}"
            ));
        }
        let pointers: Vec<*const u64> = arguments.iter().map(Argument::as_ptr).collect();
        let Launch { grid, block, shared_bytes } = launch;
        (kernel.launch)(grid.as_ptr(), block.as_ptr(), shared_bytes, pointers.as_ptr());
        let fault = (self.last_fault)();
        if fault.is_null() {
            return Ok(());
        }
        #[expect(unsafe_code, reason = "the text is C's")]
        // SAFETY: not null, and a string that stays as it is until this thread's next launch.
        let fault = unsafe { CStr::from_ptr(fault) };
        Err(fault.to_string_lossy().into_owned())
    }
}
