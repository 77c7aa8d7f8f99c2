#![doc = include_str!("../README.md")]

mod compare;
mod dump;
mod rebuild;
mod sequence;
mod verdict;

pub use compare::{
    CompareOptions, Comparison, Difference, TensorComparison, Tolerance, Unit, Worst, compare,
};
pub use dump::{Objects, ReplayOptions, Replayed, replay_from_dump};
pub use rebuild::RebuildError;
pub use sequence::{ExecutorFactory, SequenceOptions, replay_sequence};
pub use verdict::{Counts, Outcome, Verdict};
