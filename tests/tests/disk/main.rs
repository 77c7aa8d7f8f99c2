//! Recording on a simulated disk: every crash, and every error of every operation.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]
#![expect(clippy::print_stdout, reason = "tests say what they went through")]

mod clock;
mod crash;
mod failing;
mod graphs;
mod mirror;
mod notices;
mod scenario;
mod seed;
mod small_disk;
mod verdict;
