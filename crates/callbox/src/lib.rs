#![doc = include_str!("../README.md")]

mod global;
#[doc(hidden)]
pub mod macro_support;

pub use callbox_core::{Ending, Health, Level, Limits, ObjectId, PendingCall, Recorder};

pub use self::global::{Guard, install};
