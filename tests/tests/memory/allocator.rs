//! Counting what is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting the bytes that are asked for, whether they are touched or not.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Waits until no other test runs: every thread's allocations count.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the most bytes that were allocated at once while `act` ran, beyond those that were before.
pub(crate) fn peak_of(act: impl FnOnce()) -> usize {
    let before = LIVE.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    act();
    PEAK.load(Ordering::SeqCst).saturating_sub(before)
}

fn grow(len: usize) {
    let live = LIVE.fetch_add(len, Ordering::SeqCst) + len;
    PEAK.fetch_max(live, Ordering::SeqCst);
}

fn shrink(len: usize) {
    LIVE.fetch_sub(len, Ordering::SeqCst);
}

// SAFETY: every method hands its arguments on to the system's allocator, which keeps the contract, and returns
// what that returns; counting allocates nothing.
#[expect(unsafe_code, reason = "an allocator that counts is the only way to see a peak")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract of this same method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract of this same method.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller keeps the contract of this same method.
        unsafe { System.dealloc(block, layout) }
    }

    /// The old block and the new one count together: they may be two for as long as it takes to copy.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        grow(new_size);
        // SAFETY: the caller keeps the contract of this same method.
        let moved = unsafe { System.realloc(block, layout, new_size) };
        shrink(layout.size());
        moved
    }
}
