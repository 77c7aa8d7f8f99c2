//! The fake driver, opened and controlled.
#![expect(unsafe_code, reason = "a library is opened and its functions are called")]

use std::env;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// Runs all threads of a grid: its extents, those of a block, bytes of dynamic shared memory, the parameters' places.
pub type LaunchFn = unsafe extern "C" fn(*const c_uint, *const c_uint, c_uint, *mut *mut c_void);

static LIBRARY: OnceLock<Library> = OnceLock::new();

/// The driver that every call of CUDA in this process gets to.
#[derive(Clone, Copy, Debug)]
pub struct Fake(());

/// Runs a test on a driver that was just loaded; afterwards nothing may be left that was allocated or made.
///
/// # Panics
///
/// Where the test does, where something is left, and where the driver's library is not found.
pub fn on_fake(test: impl FnOnce(Fake)) {
    // A process has one driver: one test at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let fake = Fake(());
    fake.reset();
    test(fake);
    let left = (fake.live_allocations(), fake.live_objects());
    assert_eq!(left, (0, 0), "allocations and objects are left: {}", fake.without_their_end());
}

/// What is made, and by which function it is given back.
const ENDS: [(&str, &str); 8] = [
    ("cuMemAlloc_v2", "cuMemFree_v2"),
    ("cuMemAllocAsync", "cuMemFreeAsync"),
    ("cuMemHostAlloc", "cuMemFreeHost"),
    ("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2"),
    ("cuStreamCreate", "cuStreamDestroy_v2"),
    ("cuStreamBeginCapture_v2", "cuStreamEndCapture"),
    ("cuEventCreate", "cuEventDestroy_v2"),
    ("cuModuleLoadData", "cuModuleUnload"),
];

/// Opens the library once, with its symbols for everybody: who opens the driver by its name gets this one.
fn library() -> &'static Library {
    LIBRARY.get_or_init(|| {
        let path = path();
        // SAFETY: nothing runs when it is opened.
        let opened = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
        opened.unwrap_or_else(|error| panic!("failed to open the fake driver {}: {error}", path.display()))
    })
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests may say where the driver is")]
fn path() -> PathBuf {
    env::var_os("CALLBOX_FAKE_DRIVER").map(PathBuf::from).unwrap_or_else(|| {
        let executable = env::current_exe().expect("a test knows its executable");
        executable.with_file_name("libcallbox_fake_driver.so")
    })
}

/// Calls a function of the control, by its name and types.
macro_rules! control {
    ($name:literal, ($($type:ty),*) $(-> $result:ty)?, $($argument:expr),*) => {{
        // SAFETY: the fake driver exports the function with these types.
        unsafe {
            let function = library()
                .get::<unsafe extern "C" fn($($type),*) $(-> $result)?>($name.to_bytes_with_nul())
                .expect("the fake driver has all functions of its control");
            function($($argument),*)
        }
    }};
}

fn text(text: &str) -> CString {
    CString::new(text).expect("a name has no zeros")
}

impl Fake {
    /// Forgets all state: a driver that was just loaded.
    pub fn reset(self) {
        control!(c"callbox_fake_reset", (),);
    }

    /// Sets how many devices there are.
    pub fn set_device_count(self, count: i32) {
        control!(c"callbox_fake_set_device_count", (c_int), count);
    }

    /// Sets the version of CUDA that the driver supports: 12080 is 12.8.
    pub fn set_version(self, version: i32) {
        control!(c"callbox_fake_set_version", (c_int), version);
    }

    /// Sets the memory of each device, in bytes.
    pub fn set_memory_limit(self, bytes: usize) {
        control!(c"callbox_fake_set_memory_limit", (usize), bytes);
    }

    /// Sets whether memory can be allocated in the order of a stream.
    pub fn set_memory_pools(self, are_there: bool) {
        control!(c"callbox_fake_set_memory_pools", (bool), are_there);
    }

    /// Lets the `nth` call of a function from now on, counted from 1, fail with a `CUresult`.
    pub fn inject(self, function: &str, nth: u64, code: u32) {
        let function = text(function);
        control!(c"callbox_fake_inject", (*const c_char, u64, u32), function.as_ptr(), nth, code);
    }

    /// Makes a function a kernel that takes parameters of these sizes, in bytes.
    pub fn register(self, name: &str, launch: LaunchFn, sizes: &[usize]) {
        let name = text(name);
        control!(
            c"callbox_fake_register",
            (*const c_char, LaunchFn, *const usize, usize),
            name.as_ptr(),
            launch,
            sizes.as_ptr(),
            sizes.len()
        );
    }

    /// Lets the kernel that calls this end with a `CUresult`.
    pub fn raise(code: u32) {
        control!(c"callbox_fake_raise", (u32), code);
    }

    /// Counts allocations that nobody has freed, pinned ones among them.
    pub fn live_allocations(self) -> usize {
        control!(c"callbox_fake_live_allocations", () -> usize,)
    }

    /// Counts contexts, streams, events, captures, graphs and modules that nobody has destroyed.
    pub fn live_objects(self) -> usize {
        control!(c"callbox_fake_live_objects", () -> usize,)
    }

    /// Counts what streams were told and have not done.
    pub fn pending(self) -> usize {
        control!(c"callbox_fake_pending", () -> usize,)
    }

    /// Counts the calls of a function.
    pub fn calls(self, function: &str) -> usize {
        let function = text(function);
        control!(c"callbox_fake_calls", (*const c_char) -> usize, function.as_ptr())
    }

    /// Lists the functions that were called more often than those that give back what they make; calls that failed count.
    fn without_their_end(self) -> String {
        let counts = ENDS.map(|(begin, end)| (begin, self.calls(begin), end, self.calls(end)));
        let more = counts.into_iter().filter(|(_, begun, _, ended)| begun > ended);
        let lines =
            more.map(|(begin, begun, end, ended)| format!("{begin} {begun} times, {end} {ended} times"));
        lines.collect::<Vec<_>>().join("; ")
    }

    /// Returns the functions that were called, in their order.
    pub fn log(self) -> Vec<String> {
        let mut buffer = vec![0u8; 1 << 20];
        let len = control!(c"callbox_fake_log", (*mut u8, usize) -> usize, buffer.as_mut_ptr(), buffer.len());
        buffer.truncate(len);
        String::from_utf8_lossy(&buffer).lines().map(str::to_owned).collect()
    }
}
