//! Tests that cross crates, one module a subject.

mod truth;
mod replay;
mod zoo;
