//! Contexts, and the one that is current on each thread.
#![expect(unsafe_code, reason = "the functions are looked up by their plain names")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_int;

use crate::answer::{Answer, Code, INVALID_CONTEXT, INVALID_DEVICE};
use crate::driver::{Driver, Handle, call, call_in_context};
use crate::pointer::Out;
use crate::{capture, queue};

thread_local! {
    static CURRENT: Cell<Handle> = const { Cell::new(0) };
}

/// The primary contexts that somebody holds.
#[derive(Default)]
pub(crate) struct Contexts(BTreeMap<Handle, Context>);

struct Context {
    device: c_int,
    holders: u32,
    /// What failed for good.
    sticky: Option<Code>,
}

impl Contexts {
    /// Lets every later call on the context fail as this one did.
    pub(crate) fn fail(&mut self, context: Handle, code: Code) {
        if let Some(context) = self.0.get_mut(&context) {
            context.sticky.get_or_insert(code);
        }
    }

    pub(crate) fn sticky(&self, context: Handle) -> Answer {
        self.0.get(&context).and_then(|context| context.sticky).map_or(Ok(()), Err)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn of_device(&mut self, device: c_int) -> Option<(&Handle, &mut Context)> {
        self.0.iter_mut().find(|(_, context)| context.device == device)
    }
}

/// Returns the context of the calling thread.
pub(crate) fn current(driver: &Driver) -> Answer<Handle> {
    let current = CURRENT.get();
    driver.contexts.0.contains_key(&current).then_some(current).ok_or(INVALID_CONTEXT)
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRetain(context: Out<Handle>, device: c_int) -> Code {
    call("cuDevicePrimaryCtxRetain", |driver| {
        if !(0..driver.settings.device_count).contains(&device) {
            return Err(INVALID_DEVICE);
        }
        if let Some((handle, found)) = driver.contexts.of_device(device) {
            found.holders += 1;
            return context.write(*handle);
        }
        let handle = driver.new_handle();
        driver.contexts.0.insert(handle, Context { device, holders: 1, sticky: None });
        context.write(handle)
    })
}

/// The last holder's release ends what is still to be done, and whatever belongs to the context.
#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Code {
    call("cuDevicePrimaryCtxRelease_v2", |driver| {
        let (&handle, context) = driver.contexts.of_device(device).ok_or(INVALID_CONTEXT)?;
        context.holders -= 1;
        if context.holders == 0 {
            // What fails now is nobody's any more.
            queue::run_context(driver, handle).ok();
            driver.contexts.0.remove(&handle);
            driver.streams.retain(|key, _| key.context != handle);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetCurrent(context: Out<Handle>) -> Code {
    call("cuCtxGetCurrent", |_| context.write(CURRENT.get()))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: Handle) -> Code {
    call("cuCtxSetCurrent", |driver| {
        if context != 0 && !driver.contexts.0.contains_key(&context) {
            return Err(INVALID_CONTEXT);
        }
        CURRENT.set(context);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> Code {
    call_in_context("cuCtxSynchronize", |driver, context| {
        capture::forbid_in_context(driver, context)?;
        queue::run_context(driver, context)
    })
}
