#![doc = include_str!("../README.md")]

mod argument;
mod library;
mod memory;
mod nvrtc;

pub use argument::Argument;
pub use library::{LIBRARY_VARIABLE, Launch, Library, emulated};
pub use memory::Memory;
pub use nvrtc::{Compiled, NVRTC_VARIABLE, Nvrtc};
