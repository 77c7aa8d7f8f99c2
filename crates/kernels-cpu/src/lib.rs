#![doc = include_str!("../README.md")]

mod executor;
mod norm;
mod output;
mod table;

pub use executor::CpuExecutor;
