#![doc = include_str!("../README.md")]

pub mod c_library;
mod corpus;
pub mod deadly;
mod not_run;
mod random;
pub mod size;

pub use self::corpus::corpus;
pub use self::not_run::not_run;
pub use self::random::{Random, given_seed};
pub use self::size::soaks;
