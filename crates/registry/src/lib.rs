#![doc = include_str!("../README.md")]

mod arguments;
mod registry;

pub use self::arguments::{Recorded, put, result, take};
pub use self::registry::{Registry, ReplayClass, Replayable};
