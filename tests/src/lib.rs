#![doc = include_str!("../README.md")]

pub mod c_library;
mod corpus;
pub mod deadly;
mod not_run;
pub mod size;

pub use self::corpus::corpus;
pub use self::not_run::not_run;
pub use self::size::soaks;
