//! Sessions that were damaged in every way that a disk, a copy or a hand damages files.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod damage;
mod recorded;
mod unstable;
