#![doc = include_str!("../README.md")]

mod clock;
mod host;

pub use self::clock::SystemClock;
pub use self::host::SystemHost;
