//! Tests that cross crates, one module a subject.

