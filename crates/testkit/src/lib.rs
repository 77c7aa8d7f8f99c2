#![doc = include_str!("../README.md")]

pub mod conformance;
pub mod memory;
pub mod sample;
pub mod strategies;

pub use memory::MemorySource;
