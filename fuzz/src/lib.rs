#![doc = include_str!("../README.md")]

#[path = "../../tests/tests/memory/allocator.rs"]
mod allocator;
mod archive;
mod bounds;
mod choices;
mod dump_folder;
mod echo;
mod folder_name;
mod json_line;
mod metadata;
mod patterns;
mod pickle;
mod pt;
mod safetensors;
mod scratch;
mod seeds;
mod target;
mod tensors;

pub use bounds::{CPU_TIME, bounded, memory_allowed};
pub use seeds::Seeds;
pub use target::{TARGETS, Target, find};
