#![doc = include_str!("../README.md")]

mod chain;
mod compare;
mod dump;
mod rebuild;
mod report;
mod sequence;
mod verdict;

pub use chain::{Chain, Runner, Step, chains, is_preparation, joined, run_chains};
pub use compare::{
    CompareOptions, Comparison, Difference, TensorComparison, Tolerance, Unit, Worst, compare,
};
pub use dump::{Objects, ReplayOptions, Replayed, replay_from_dump};
pub use rebuild::RebuildError;
pub use report::CallReport;
pub use sequence::{ExecutorFactory, SequenceOptions, replay_chain, replay_sequence};
pub use verdict::{Counts, Death, Outcome, Verdict};
