//! Tests of the crate from outside, one module a subject.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod damage;
mod fixtures;
mod hostile;
mod plan;
mod reading;
mod round_trip;
