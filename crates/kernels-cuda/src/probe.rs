//! Whether there is a driver, and what it can do: asked before anything that panics without one.
#![expect(unsafe_code, reason = "opening a library and calling into it is unsafe")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, DriverError};
use libloading::Library;

use crate::error::{CudaError, Missing, version_of};

/// The driver's library, by its names on Linux and Windows.
const LIBRARIES: [&str; 3] = ["libcuda.so", "libcuda.so.1", "nvcuda.dll"];
/// The oldest driver whose functions are those that cudarc calls here: 12.0.
const OLDEST: i32 = 12_000;

/// Retains the primary context of a device.
pub(crate) fn primary_context(index: u32) -> Result<Arc<CudaContext>, CudaError> {
    ask(|| try_primary_context(index))
}

/// Returns the version of CUDA that the driver supports, `12.8`. Nothing is initialised: a process that forks afterwards
/// has children that can use the device.
pub fn driver_version() -> Result<String, CudaError> {
    ask(|| supported_version().map(version_of).map_err(uninitialised))
}

/// Tells whether the driver's library can be opened; cudarc, which may be linked to it, tells by a panic.
fn is_installed() -> bool {
    // SAFETY: what a driver's library does when it is opened is what it does for every program that uses it.
    LIBRARIES.iter().any(|name| unsafe { Library::new(*name) }.is_ok())
}

/// Asks the driver, where there is one.
fn ask<T>(question: impl FnOnce() -> Result<T, CudaError>) -> Result<T, CudaError> {
    if !is_installed() {
        return Err(CudaError::Unavailable(Missing::Driver));
    }
    // cudarc looks functions up when they are called first, and panics where the library lacks one.
    let answer = catch_unwind(AssertUnwindSafe(question));
    answer.unwrap_or_else(|panic| Err(CudaError::Unavailable(Missing::Initialisation(text_of(&*panic)))))
}

fn try_primary_context(index: u32) -> Result<Arc<CudaContext>, CudaError> {
    expect_version(OLDEST)?;
    let count = CudaContext::device_count().map_err(uninitialised)?;
    let count = u32::try_from(count).unwrap_or(0);
    match count {
        0 => Err(CudaError::Unavailable(Missing::Device)),
        _ if index >= count => Err(CudaError::NoSuchDevice { index, count }),
        _ => CudaContext::new(index as usize).map_err(CudaError::from),
    }
}

/// Fails where the driver, which is there, supports an older version of CUDA.
pub(crate) fn expect_version(needed: i32) -> Result<(), CudaError> {
    let version = supported_version().map_err(uninitialised)?;
    if version < needed {
        return Err(CudaError::Unavailable(Missing::NewerDriver { version, needed }));
    }
    Ok(())
}

fn supported_version() -> Result<i32, DriverError> {
    let mut version = 0;
    // SAFETY: it may be called at any time, and writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map(|()| version)
}

/// Says why the driver does not initialise.
fn uninitialised(error: DriverError) -> CudaError {
    CudaError::Unavailable(match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => Missing::Device,
        // The library that toolkits bring for linking has the functions and none of the driver.
        CUresult::CUDA_ERROR_STUB_LIBRARY => Missing::Driver,
        _ => Missing::Initialisation(CudaError::from(error).to_string()),
    })
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_driver_there_is_a_clean_error() {
        if is_installed() {
            println!("not run: without_a_driver_there_is_a_clean_error: this machine has a driver");
            return;
        }
        let error = primary_context(0).unwrap_err();
        assert_eq!(error, CudaError::Unavailable(Missing::Driver));
        assert!(error.to_string().contains("install NVIDIA's"), "{error}");
    }
}
