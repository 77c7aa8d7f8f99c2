//! The driver itself, and its devices.
#![expect(unsafe_code, reason = "the functions are looked up by their plain names")]

use std::ffi::{c_char, c_int, c_uint};

use crate::answer::{Answer, Code, INVALID_DEVICE, INVALID_VALUE, NO_DEVICE};
use crate::driver::{Driver, call, call_first};
use crate::launch::{DEFAULT_SHARED_BYTES, MAX_GRID, MAX_SHARED_BYTES, MAX_THREADS};
use crate::pointer::{Out, fill};

const NAME: &[u8] = b"Fake device over host memory\0";

fn check_device(driver: &Driver, device: c_int) -> Answer {
    if (0..driver.settings.device_count).contains(&device) { Ok(()) } else { Err(INVALID_DEVICE) }
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: c_uint) -> Code {
    call_first("cuInit", |driver| {
        if driver.settings.device_count == 0 {
            return Err(NO_DEVICE);
        }
        driver.initialise();
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(version: Out<c_int>) -> Code {
    call_first("cuDriverGetVersion", |driver| version.write(driver.settings.version))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(count: Out<c_int>) -> Code {
    call("cuDeviceGetCount", |driver| count.write(driver.settings.device_count))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(device: Out<c_int>, ordinal: c_int) -> Code {
    call("cuDeviceGet", |driver| check_device(driver, ordinal).and_then(|()| device.write(ordinal)))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, device: c_int) -> Code {
    call("cuDeviceGetName", |driver| {
        check_device(driver, device)?;
        fill(name.cast(), usize::try_from(len).map_err(|_| INVALID_VALUE)?, NAME);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: c_int) -> Code {
    call("cuDeviceTotalMem_v2", |driver| {
        check_device(driver, device)?;
        bytes.write(driver.settings.memory_limit)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(value: Out<c_int>, attribute: c_uint, device: c_int) -> Code {
    call("cuDeviceGetAttribute", |driver| {
        check_device(driver, device)?;
        value.write(match attribute {
            // Threads of a block, and its extents.
            1 => MAX_THREADS as c_int,
            2 | 3 => 1024,
            4 => 64,
            5..=7 => MAX_GRID[attribute as usize - 5] as c_int,
            8 => DEFAULT_SHARED_BYTES as c_int,
            // Threads of a warp, and multiprocessors.
            10 => 32,
            16 => 1,
            // The compute capability of an H100.
            75 => 9,
            76 => 0,
            81 | 97 => MAX_SHARED_BYTES as c_int,
            115 => c_int::from(driver.settings.has_memory_pools),
            _ => 0,
        })
    })
}
