//! Tests of the crate from outside, one module a subject.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod damage;
mod fixtures;
mod forge;
mod hostile_containers;
mod hostile_pickles;
mod hostile_tensors;
mod plan;
mod round_trip;
