#![doc = include_str!("../README.md")]

mod flush;
mod folder;
mod report;
mod session;
mod tensors;

pub use report::{Damage, Report, Totals};
pub use session::{VerifyOptions, verify};
