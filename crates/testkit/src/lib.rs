#![doc = include_str!("../README.md")]

pub mod conformance;
pub mod device;
pub mod fixed;
pub mod hostile;
pub mod memory;
pub mod memory_log;
pub mod memory_sink;
pub mod sample;
pub mod sim;
pub mod strategies;

pub use device::{DeviceContents, FakeDeviceMemory, GraphMemory};
pub use memory::MemorySource;
pub use memory_log::MemoryLog;
pub use memory_sink::{Fault, MemorySink, Operation};
