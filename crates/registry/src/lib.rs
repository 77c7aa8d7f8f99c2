#![doc = include_str!("../README.md")]

mod arguments;
mod registry;

pub use self::arguments::{Recorded, put, result, returned_value, take};
pub use self::registry::{Registry, ReplayClass, Replayable};
