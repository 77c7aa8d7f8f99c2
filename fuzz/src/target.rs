//! The table of targets.

use crate::seeds::{self, Seeds};
use crate::{dump_folder, folder_name, json_line, metadata, patterns, pickle, pt, safetensors};

/// Something that reads bytes which anybody may have written.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the target, and of its folder of kept inputs.
    pub name: &'static str,
    /// Longest input worth trying, in bytes.
    pub max_len: usize,
    /// Reads an input. A panic is a bug: of the reader, or of the promise that it panics about.
    pub run: fn(&[u8]),
    /// Makes inputs to start from.
    pub seeds: fn(&mut Seeds),
}

/// Every target; README.md says what each must not do.
#[rustfmt::skip]
pub const TARGETS: [Target; 9] = [
    Target { name: "pt_file", max_len: 4096, run: pt::file, seeds: seeds::pt_files },
    Target { name: "pt_forged", max_len: 512, run: pt::forged, seeds: seeds::choices },
    Target { name: "pickle_ops", max_len: 1024, run: pickle::ops, seeds: seeds::pickles },
    Target { name: "safetensors", max_len: 2048, run: safetensors::file, seeds: seeds::safetensors_files },
    Target { name: "json_line", max_len: 2048, run: json_line::line, seeds: seeds::lines },
    Target { name: "metadata", max_len: 4096, run: metadata::line, seeds: seeds::lines },
    Target { name: "patterns", max_len: 128, run: patterns::lists, seeds: seeds::patterns },
    Target { name: "folder_name", max_len: 300, run: folder_name::name, seeds: seeds::folder_names },
    Target { name: "dump_folder", max_len: 8192, run: dump_folder::session, seeds: seeds::sessions },
];

/// Finds a target by its name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
