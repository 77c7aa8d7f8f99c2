#![doc = include_str!("../README.md")]

mod fake;

pub use fake::{Fake, LaunchFn, on_fake};
