//! Tests that cross crates, one module a subject.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]
#![expect(clippy::print_stdout, reason = "tests over a corpus say how much of it they saw")]

mod conformance;
mod convert;
mod graphs;
mod isolation;
mod lines;
mod logs;
mod props;
mod recording;
mod replay;
mod sessions;
mod truth;
mod zoo;
