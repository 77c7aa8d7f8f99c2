#![doc = include_str!("../README.md")]

mod carrier;
mod error;
mod report;
mod session;
mod target;
mod tensors;
mod verify;

pub use error::{ConvertError, TargetError};
pub use report::{Deviation, DeviationKind, Report, Totals};
pub use session::{ConvertOptions, convert};
