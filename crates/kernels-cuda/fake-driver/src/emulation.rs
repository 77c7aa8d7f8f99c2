//! Where kernels come from: a shared library of emulated ones, or a test that registers its own.
//!
//! The library's path is in the environment variable `CALLBOX_EMULATED_KERNELS`; it is opened when a kernel is looked for
//! that nobody registered.
#![expect(unsafe_code, reason = "a library of kernels is opened and called")]

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::answer::{Answer, Code, FILE_NOT_FOUND, LAUNCH_FAILED, NOT_SUPPORTED};
use crate::pointer::sizes;

/// Runs all threads of a grid: its extents, those of a block, bytes of dynamic shared memory, the parameters' places.
pub(crate) type LaunchFn = unsafe extern "C" fn(*const c_uint, *const c_uint, c_uint, *mut *mut c_void);
type FaultFn = unsafe extern "C" fn() -> *const c_char;
type ListFn = unsafe extern "C" fn(*mut usize) -> *const Described;

const PATH: &str = "CALLBOX_EMULATED_KERNELS";
const RTLD_NOW: c_int = 2;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// A kernel as the library describes it.
#[repr(C)]
struct Described {
    name: *const c_char,
    launch: LaunchFn,
    param_sizes: *const usize,
    param_count: usize,
}

/// What a launch of a kernel needs.
#[derive(Clone)]
pub(crate) struct Kernel {
    pub(crate) launch: LaunchFn,
    /// Bytes of each parameter.
    pub(crate) sizes: Vec<usize>,
}

/// The kernels by name.
#[derive(Default)]
pub(crate) struct Emulation {
    kernels: BTreeMap<String, Kernel>,
    is_library_open: bool,
    last_fault: Option<FaultFn>,
}

/// What a kernel raised that runs, or ran last.
static RAISED: AtomicU32 = AtomicU32::new(0);

/// Lets the launch of the kernel that calls this end with a code.
pub(crate) fn raise(code: Code) {
    RAISED.store(code, Ordering::Relaxed);
}

impl Emulation {
    pub(crate) fn register(&mut self, name: String, kernel: Kernel) {
        self.kernels.insert(name, kernel);
    }

    /// Finds a kernel; fails where nobody emulates one of that name.
    pub(crate) fn kernel(&mut self, name: &str) -> Answer<Kernel> {
        if !self.kernels.contains_key(name) {
            self.open_library()?;
        }
        self.kernels.get(name).cloned().ok_or(NOT_SUPPORTED)
    }

    /// Gives what went wrong in the kernel that ran last.
    pub(crate) fn take_fault(&self) -> Option<Code> {
        let raised = RAISED.swap(0, Ordering::Relaxed);
        // SAFETY: the library gave the function and is never closed.
        let is_told = self.last_fault.is_some_and(|last_fault| unsafe { !last_fault().is_null() });
        (raised != 0).then_some(raised).or(is_told.then_some(LAUNCH_FAILED))
    }

    #[expect(clippy::disallowed_methods, reason = "whoever tests kernels says where they are")]
    fn open_library(&mut self) -> Answer {
        if self.is_library_open {
            return Ok(());
        }
        let Some(path) = env::var_os(PATH) else { return Ok(()) };
        let path = CString::new(path.into_encoded_bytes()).map_err(|_| FILE_NOT_FOUND)?;
        // SAFETY: opening the library runs what it does when it is opened; whoever names it vouches for that.
        let library = unsafe { dlopen(path.as_ptr(), RTLD_NOW) };
        let list = symbol(library, c"callbox_kernels").ok_or(FILE_NOT_FOUND)?;
        // SAFETY: the library exports the function with this type; a null is none of either.
        let list = unsafe { std::mem::transmute::<*mut c_void, ListFn>(list) };
        self.last_fault = symbol(library, c"callbox_last_fault")
            // SAFETY: as above.
            .map(|found| unsafe { std::mem::transmute::<*mut c_void, FaultFn>(found) });
        let mut count = 0;
        // SAFETY: it gives the start of a table, and writes how long that is.
        let first = unsafe { list(&mut count) };
        for place in 0..count {
            // SAFETY: the table has `count` rows, each with the name of a kernel that ends with a zero.
            let (row, name) = unsafe {
                let row = &*first.add(place);
                (row, CStr::from_ptr(row.name))
            };
            let kernel = Kernel { launch: row.launch, sizes: sizes(row.param_sizes, row.param_count) };
            // A test's own kernel of that name goes first.
            self.kernels.entry(name.to_string_lossy().into_owned()).or_insert(kernel);
        }
        self.is_library_open = true;
        Ok(())
    }
}

fn symbol(library: *mut c_void, name: &CStr) -> Option<*mut c_void> {
    if library.is_null() {
        return None;
    }
    // SAFETY: the library is open, and stays so.
    let found = unsafe { dlsym(library, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}
