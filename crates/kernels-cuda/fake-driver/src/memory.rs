//! Memory: the table of allocations, and what may be touched.
//!
//! What a fresh allocation holds is a pattern that no test writes, so bytes that were never copied show.
#![expect(unsafe_code, reason = "memory is allocated by its layout, and looked up by its address")]

use std::alloc::{self, Layout};
use std::collections::BTreeMap;
use std::ffi::c_uint;

use crate::answer::{Answer, Code, INVALID_VALUE, OUT_OF_MEMORY};
use crate::capture;
use crate::driver::{Driver, Handle, call_in_context, call_to_destroy};
use crate::pointer::Out;
use crate::queue::{self, Operation};
use crate::stream;

const ALIGNMENT: usize = 256;

/// What memory is, and what it holds at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Device,
    /// Host memory that the driver knows.
    Pinned,
}

/// All allocations, by their addresses.
#[derive(Default)]
pub(crate) struct Memory(BTreeMap<usize, Allocation>);

struct Allocation {
    len: usize,
    kind: Kind,
    context: Handle,
    /// Its free is in the queue of a stream: it is there until that runs, and nobody may use it any more.
    is_leaving: bool,
}

impl Allocation {
    fn layout(&self) -> Layout {
        Layout::from_size_align(self.len, ALIGNMENT).expect("it was allocated with this layout")
    }
}

impl Memory {
    fn allocate(&mut self, kind: Kind, len: usize, context: Handle) -> Answer<usize> {
        let layout = Layout::from_size_align(len, ALIGNMENT).map_err(|_| OUT_OF_MEMORY)?;
        if len == 0 {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the layout has bytes.
        let start = unsafe { alloc::alloc(layout) };
        if start.is_null() {
            return Err(OUT_OF_MEMORY);
        }
        let pattern = match kind {
            Kind::Device => 0xA5,
            Kind::Pinned => 0x5A,
        };
        // SAFETY: `len` bytes were allocated there.
        unsafe { start.write_bytes(pattern, len) };
        self.0.insert(start.addr(), Allocation { len, kind, context, is_leaving: false });
        start.expose_provenance();
        Ok(start.addr())
    }

    /// Gives memory back; fails unless `start` is the first byte of an allocation.
    pub(crate) fn release(&mut self, start: usize) -> Answer {
        let allocation = self.0.remove(&start).ok_or(INVALID_VALUE)?;
        // SAFETY: it was allocated with this layout, and is no longer in the table.
        unsafe { alloc::dealloc(std::ptr::with_exposed_provenance_mut(start), allocation.layout()) };
        Ok(())
    }

    /// Fails unless all bytes lie in one allocation of the device that nobody has freed.
    pub(crate) fn check_device(&self, start: usize, len: usize) -> Answer {
        let is_leaving = self.at(start).is_some_and(|(_, allocation)| allocation.is_leaving);
        if is_leaving { Err(INVALID_VALUE) } else { self.check_there(start, len) }
    }

    /// Fails unless all bytes lie in one allocation of the device that is still there: what was told to use it before it
    /// was freed may.
    pub(crate) fn check_there(&self, start: usize, len: usize) -> Answer {
        let allocation = self.at(start).filter(|(_, found)| found.kind == Kind::Device);
        let (first, allocation) = allocation.ok_or(INVALID_VALUE)?;
        let end = start.checked_add(len).ok_or(INVALID_VALUE)?;
        if end <= first + allocation.len { Ok(()) } else { Err(INVALID_VALUE) }
    }

    /// Tells whether an address is in host memory that the driver knows.
    pub(crate) fn is_pinned(&self, address: usize) -> bool {
        self.at(address).is_some_and(|(_, allocation)| allocation.kind == Kind::Pinned)
    }

    /// Counts what nobody has freed.
    pub(crate) fn live(&self) -> usize {
        self.0.values().filter(|allocation| !allocation.is_leaving).count()
    }

    fn at(&self, address: usize) -> Option<(usize, &Allocation)> {
        let (&start, allocation) = self.0.range(..=address).next_back()?;
        (address - start < allocation.len).then_some((start, allocation))
    }

    fn bytes_of(&self, context: Handle) -> usize {
        let of_context =
            |allocation: &&Allocation| allocation.context == context && allocation.kind == Kind::Device;
        self.0.values().filter(of_context).map(|allocation| allocation.len).sum()
    }

    fn is(&self, start: usize, kind: Kind) -> Answer {
        let found = self.0.get(&start).filter(|found| found.kind == kind && !found.is_leaving);
        found.map(|_| ()).ok_or(INVALID_VALUE)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        while let Some((&start, _)) = self.0.first_key_value() {
            self.release(start).ok();
        }
    }
}

fn allocate_on_device(driver: &mut Driver, context: Handle, len: usize) -> Answer<usize> {
    if driver.memory.bytes_of(context).saturating_add(len) > driver.settings.memory_limit {
        return Err(OUT_OF_MEMORY);
    }
    driver.memory.allocate(Kind::Device, len, context)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> Code {
    call_in_context("cuMemGetInfo_v2", |driver, context| {
        let limit = driver.settings.memory_limit;
        free.write(limit.saturating_sub(driver.memory.bytes_of(context)))?;
        total.write(limit)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAlloc_v2(start: Out<usize>, len: usize) -> Code {
    call_in_context("cuMemAlloc_v2", |driver, context| {
        capture::forbid_unsafe_call(driver)?;
        let allocated = allocate_on_device(driver, context, len)?;
        start.write(allocated)
    })
}

/// Memory may be used at once in the order of its stream, which is all that callers do with it here.
#[unsafe(no_mangle)]
extern "C" fn cuMemAllocAsync(start: Out<usize>, len: usize, stream: Handle) -> Code {
    call_in_context("cuMemAllocAsync", |driver, context| {
        let key = stream::find(driver, context, stream)?;
        capture::forbid_on_stream(driver, key)?;
        let allocated = allocate_on_device(driver, context, len)?;
        start.write(allocated)
    })
}

/// Waits for all work of the context, as the driver does.
#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(start: usize) -> Code {
    call_to_destroy("cuMemFree_v2", |driver, context| {
        capture::forbid_unsafe_call(driver)?;
        driver.memory.is(start, Kind::Device)?;
        queue::run_context(driver, context)?;
        driver.memory.release(start)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(start: usize, stream: Handle) -> Code {
    call_to_destroy("cuMemFreeAsync", |driver, context| {
        let key = stream::find(driver, context, stream)?;
        capture::forbid_on_stream(driver, key)?;
        driver.memory.is(start, Kind::Device)?;
        queue::enqueue(driver, key, Operation::Free { start })?;
        if let Some(allocation) = driver.memory.0.get_mut(&start) {
            allocation.is_leaving = true;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostAlloc(start: Out<usize>, len: usize, _flags: c_uint) -> Code {
    call_in_context("cuMemHostAlloc", |driver, context| {
        capture::forbid_unsafe_call(driver)?;
        let allocated = driver.memory.allocate(Kind::Pinned, len, context)?;
        start.write(allocated)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(start: usize) -> Code {
    call_to_destroy("cuMemFreeHost", |driver, context| {
        capture::forbid_unsafe_call(driver)?;
        driver.memory.is(start, Kind::Pinned)?;
        queue::run_context(driver, context)?;
        driver.memory.release(start)
    })
}
