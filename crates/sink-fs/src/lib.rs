#![doc = include_str!("../README.md")]

mod call_facts;
mod close;
mod disk;
mod durability;
mod encode;
mod fields;
pub mod files;
mod folder;
mod formats;
mod index;
pub mod json;
mod jsonl;
mod line_facts;
mod line_file;
mod lines;
mod location;
mod mapped;
mod metadata;
mod new_folder;
mod open;
mod order;
mod place_name;
mod pool;
mod record;
mod recurring;
mod rewrite;
#[cfg(test)]
mod sample;
mod second_call;
mod session;
mod sink;
mod slot;
mod source;
mod staged;
mod sync;
mod tree;
mod value;

pub use durability::{Durability, ParseDurabilityError};
pub use new_folder::NewFolder;
pub use open::{Entry, EntryKind};
pub use rewrite::{Rewriting, Rewritten};
pub use sink::{FsSink, SinkOptions};
pub use source::{FsSource, ReadMode, ReadOptions};
pub use tree::FileTree;
