#![doc = include_str!("../README.md")]

mod call_facts;
mod encode;
mod fields;
mod folder;
mod index;
pub mod json;
mod jsonl;
mod line_facts;
mod lines;
mod mapped;
mod metadata;
mod open;
mod order;
mod pool;
mod record;
mod recurring;
#[cfg(test)]
mod sample;
mod second_call;
mod session;
mod source;
mod value;

pub use source::{FsSource, ReadMode, ReadOptions};
