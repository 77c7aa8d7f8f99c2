//! What the tests' programs ask of the C library: forking, ending at once, a handler of a signal.
#![expect(
    unsafe_code,
    reason = "forking a process of several threads is unsafe, and so is what a handler may do"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Pid, WaitOptions, waitpid};

/// What a program ends with that panicked.
const PANICKED: i32 = 101;
/// The signal that asks a process to end.
const SIGTERM: i32 = 15;

// SAFETY: the C library has these, of these types; on Linux a handler is a pointer to a function of an int.
unsafe extern "C" {
    /// Gives 0 in the child, the child's id in the parent.
    unsafe fn fork() -> i32;
    /// Ends the process at once: nothing of the parent's is cleaned up by the child.
    safe fn _exit(status: i32) -> !;
    unsafe fn signal(signal: i32, handler: extern "C" fn(i32)) -> usize;
}

/// Forks a child that does this work and ends; the parent gets its id.
///
/// Other threads of the parent are not there in the child: what they had half done stays so.
pub fn in_a_child(work: impl FnOnce()) -> Pid {
    // SAFETY: of what other threads may have left half done, the child uses the C library's allocator, which the
    // library makes whole in `fork`, and the recorder, whose readiness for this is what is tested.
    let id = unsafe { fork() };
    if id == 0 {
        // A panic would go on in what the child has of the parent's frames.
        let came_to_its_end = catch_unwind(AssertUnwindSafe(work)).is_ok();
        _exit(if came_to_its_end { 0 } else { PANICKED });
    }
    Pid::from_raw(id).expect("the system can fork")
}

/// Waits for a child; tells whether it came to its end.
pub fn came_to_its_end(child: Pid) -> bool {
    matches!(waitpid(Some(child), WaitOptions::empty()), Ok(Some((_, status))) if status.exit_status() == Some(0))
}

/// Has the process end with status 15 when it is asked to end, as an application of its own mind does.
pub fn end_with_15_when_asked_to() {
    extern "C" fn end(_: i32) {
        _exit(SIGTERM);
    }
    // SAFETY: all that the handler does is to end the process, which may be done at any point.
    unsafe { signal(SIGTERM, end) };
}
