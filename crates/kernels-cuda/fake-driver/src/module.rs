//! Modules of PTX, and the functions in them.
#![expect(unsafe_code, reason = "the functions are looked up by their plain names")]

use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint};

use crate::answer::{Answer, Code, INVALID_HANDLE, INVALID_IMAGE, INVALID_PTX, INVALID_VALUE, NOT_FOUND};
use crate::capture;
use crate::driver::{Driver, Handle, call_in_context, call_to_destroy};
use crate::launch::{DEFAULT_SHARED_BYTES, MAX_SHARED_BYTES, MAX_THREADS};
use crate::pointer::{Out, Text};

/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const MAX_DYNAMIC_SHARED: c_uint = 8;

/// Loaded modules, and functions of theirs.
#[derive(Default)]
pub(crate) struct Modules {
    loaded: BTreeMap<Handle, String>,
    functions: BTreeMap<Handle, Function>,
}

/// A kernel of a module.
#[derive(Clone)]
pub(crate) struct Function {
    module: Handle,
    pub(crate) name: String,
    /// The most dynamic shared memory that a launch may ask for, in bytes.
    pub(crate) max_shared_bytes: u32,
}

impl Modules {
    pub(crate) fn function(&self, function: Handle) -> Answer<Function> {
        let found = self.functions.get(&function).filter(|found| self.loaded.contains_key(&found.module));
        found.cloned().ok_or(INVALID_HANDLE)
    }

    pub(crate) fn len(&self) -> usize {
        self.loaded.len()
    }
}

/// Tells whether a text of PTX has a kernel of this name.
fn has_entry(ptx: &str, name: &str) -> bool {
    ptx.match_indices(".entry").any(|(place, word)| {
        let behind = ptx[place + word.len()..].trim_start();
        let end =
            behind.find(|c: char| !(c.is_ascii_alphanumeric() || "_$%".contains(c))).unwrap_or(behind.len());
        &behind[..end] == name
    })
}

/// Takes PTX alone: there is nothing here that runs machine code. Loading allocates, so captures forbid it as they do that.
#[unsafe(no_mangle)]
extern "C" fn cuModuleLoadData(module: Out<Handle>, image: Text) -> Code {
    call_in_context("cuModuleLoadData", |driver, _| {
        capture::forbid_unsafe_call(driver)?;
        if image.begins_with(b"\x7fELF") {
            return Err(INVALID_IMAGE);
        }
        let ptx = image.read()?;
        if ![".version", ".target"].iter().all(|directive| ptx.contains(directive)) {
            return Err(INVALID_PTX);
        }
        let handle = driver.new_handle();
        driver.modules.loaded.insert(handle, ptx);
        module.write(handle)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(module: Handle) -> Code {
    call_to_destroy("cuModuleUnload", |driver, _| {
        driver.modules.loaded.remove(&module).map(|_| ()).ok_or(INVALID_HANDLE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleGetFunction(function: Out<Handle>, module: Handle, name: Text) -> Code {
    call_in_context("cuModuleGetFunction", |driver, _| {
        let name = name.read()?;
        let ptx = driver.modules.loaded.get(&module).ok_or(INVALID_HANDLE)?;
        if !has_entry(ptx, &name) {
            return Err(NOT_FOUND);
        }
        let handle = driver.new_handle();
        let made = Function { module, name, max_shared_bytes: DEFAULT_SHARED_BYTES };
        driver.modules.functions.insert(handle, made);
        function.write(handle)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(function: Handle, attribute: c_uint, value: c_int) -> Code {
    call_in_context("cuFuncSetAttribute", |driver, _| {
        let bytes =
            u32::try_from(value).ok().filter(|bytes| *bytes <= MAX_SHARED_BYTES).ok_or(INVALID_VALUE)?;
        let function = known(driver, function)?;
        if attribute == MAX_DYNAMIC_SHARED {
            function.max_shared_bytes = bytes;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncGetAttribute(value: Out<c_int>, attribute: c_uint, function: Handle) -> Code {
    call_in_context("cuFuncGetAttribute", |driver, _| {
        let function = known(driver, function)?;
        value.write(match attribute {
            0 => MAX_THREADS as c_int,
            MAX_DYNAMIC_SHARED => function.max_shared_bytes as c_int,
            _ => 0,
        })
    })
}

fn known(driver: &mut Driver, function: Handle) -> Answer<&mut Function> {
    driver.modules.functions.get_mut(&function).ok_or(INVALID_HANDLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_its_whole_name() {
        let ptx = ".visible .entry scale(\n.param .u64 a\n)\n{ ret; }\n.visible .entry add_one\n(";
        assert!(has_entry(ptx, "scale") && has_entry(ptx, "add_one"));
        for name in ["scal", "scale2", "add", "", "param"] {
            assert!(!has_entry(ptx, name), "{name}");
        }
    }
}
