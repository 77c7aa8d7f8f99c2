//! What tests tell the driver, and ask it.
#![expect(unsafe_code, reason = "the functions are looked up by their plain names")]

use std::ffi::c_int;

use crate::answer::Code;
use crate::capture;
use crate::driver::{control, reset};
use crate::emulation::{self, Kernel, LaunchFn};
use crate::pointer::{Text, fill, sizes};
use crate::queue::Queue;
use crate::stream::LEGACY;

/// Forgets all state, memory and registered kernels, and the mode of this thread: a driver that was just loaded.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_reset() {
    reset();
    capture::reset_thread();
}

/// Sets how many devices there are; none: the driver does not initialise.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_set_device_count(count: c_int) {
    control(|driver| driver.settings.device_count = count);
}

/// Sets the version of CUDA that the driver supports: 12080 is 12.8.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_set_version(version: c_int) {
    control(|driver| driver.settings.version = version);
}

/// Sets the memory of each device, in bytes.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_set_memory_limit(bytes: usize) {
    control(|driver| driver.settings.memory_limit = bytes);
}

/// Sets whether memory can be allocated in the order of a stream; without, cudarc waits when it frees.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_set_memory_pools(are_there: bool) {
    control(|driver| driver.settings.has_memory_pools = are_there);
}

/// Lets the `nth` call of a function from now on, counted from 1, fail with a code. One that is sticky stays.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_inject(function: Text, nth: u64, code: Code) {
    if let Ok(function) = function.read() {
        control(|driver| driver.calls.inject(function, nth, code));
    }
}

/// Lets the kernel that calls this end with a code.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_raise(code: Code) {
    emulation::raise(code);
}

/// Makes a function of the test a kernel: its name, and the bytes of each of its parameters.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_register(name: Text, launch: LaunchFn, param_sizes: *const usize, count: usize) {
    if let Ok(name) = name.read() {
        let kernel = Kernel { launch, sizes: sizes(param_sizes, count) };
        control(|driver| driver.emulation.register(name, kernel));
    }
}

/// Counts allocations, of the device and pinned ones, that nobody has freed.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_live_allocations() -> usize {
    control(|driver| driver.memory.live())
}

/// Counts contexts, streams, events, captures, graphs and modules that somebody made and did not destroy.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_live_objects() -> usize {
    control(|driver| {
        let streams = driver.streams.keys().filter(|key| key.stream > LEGACY + 2).count();
        driver.contexts.len()
            + streams
            + driver.events.len()
            + driver.captures.len()
            + driver.graphs.len()
            + driver.modules.len()
    })
}

/// Counts what streams were told and have not done.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_pending() -> usize {
    control(|driver| driver.streams.values().map(Queue::pending).sum())
}

/// Counts the calls of a function.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_calls(function: Text) -> usize {
    let function = function.read().unwrap_or_default();
    control(|driver| driver.calls.log.iter().filter(|called| **called == function).count())
}

/// Writes the functions that were called, in their order, a line each, as far as they fit; returns the bytes of all.
#[unsafe(no_mangle)]
extern "C" fn callbox_fake_log(buffer: *mut u8, len: usize) -> usize {
    let text = control(|driver| driver.calls.log.join("\n"));
    fill(buffer, len, text.as_bytes());
    text.len()
}
