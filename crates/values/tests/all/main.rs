//! The crate as an application sees it.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod foreign_types;
mod round_trip;
