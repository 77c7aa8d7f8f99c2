#![doc = include_str!("../README.md")]

mod device;
mod fake;

pub use device::{HARDWARE_VARIABLE, KERNELS_VARIABLE, Machine, not_run, on_device};
pub use fake::{Fake, LaunchFn, on_fake};
