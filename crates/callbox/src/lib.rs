#![doc = include_str!("../README.md")]

mod global;
#[doc(hidden)]
pub mod macro_support;

pub use callbox_core::{Ending, Health, Level, Limits, ObjectId, PendingCall, Recorder};
pub use callbox_macros::record;
pub use callbox_values::{FromValue, FromValueError, Returned, ToValue, record_enum, tensor_of};

pub use self::global::{Guard, install};
