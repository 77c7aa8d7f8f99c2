//! Recording processes from the outside: many at once, killed ones, forked ones, and what recording may not do to them.
//!
//! Each test starts programs of `src/bin`. A binary of its own: what it measures wants the machine for itself.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]
#![expect(clippy::print_stdout, reason = "a test with a seed says which, and how much it saw")]

mod environment;
mod first_calls;
mod graphs;
mod killed;
mod progress;
mod session_lines;
mod shared_limits;
mod shared_session;
mod signals;
mod workers;
