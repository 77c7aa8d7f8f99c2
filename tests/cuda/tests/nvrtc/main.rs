//! The kernels' sources through NVIDIA's own compiler, which sees what a compiler for the host does not.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use callbox_cuda_tests::{Nvrtc, emulated};

/// Of which the PTX is committed; a driver translates it for every later architecture.
const VIRTUAL: &str = "compute_80";
const REAL: [&str; 5] = ["sm_80", "sm_89", "sm_90", "sm_100", "sm_120"];
/// Set to anything, it has the committed files written anew.
const UPDATE_VARIABLE: &str = "CALLBOX_UPDATE_PTX";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/kernels-cuda")
}

fn sources() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join("kernels")).unwrap();
    let mut sources: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    sources.sort();
    assert!(!sources.is_empty());
    sources
}

fn committed(source: &Path) -> PathBuf {
    folder().join("ptx").join(source.with_extension("ptx").file_name().unwrap())
}

fn compile(nvrtc: &Nvrtc, source: &Path, architecture: &str) -> callbox_cuda_tests::Compiled {
    nvrtc
        .compile(source, architecture)
        .unwrap_or_else(|log| panic!("{} for {architecture}:\n{log}", source.display()))
}

/// Leaves out what the compiler puts behind the last word of a line.
fn without_blanks(ptx: &str) -> String {
    ptx.trim_end().lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[test]
fn the_committed_ptx_is_what_the_compiler_makes_of_the_sources() {
    let nvrtc = Nvrtc::load();
    #[expect(clippy::disallowed_methods, reason = "these tests are programs of their own")]
    let update = env::var_os(UPDATE_VARIABLE).is_some();
    for source in sources() {
        let ptx = without_blanks(&compile(&nvrtc, &source, VIRTUAL).ptx);
        let path = committed(&source);
        if update {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &ptx).unwrap();
        }
        let is_same = fs::read_to_string(&path).is_ok_and(|committed| committed == ptx);
        assert!(
            is_same,
            "{} is not what the compiler makes: `cargo xtask cuda --update-ptx`",
            path.display()
        );
    }
}

#[test]
fn no_kernel_spills_registers_on_any_architecture() {
    let nvrtc = Nvrtc::load();
    for source in sources() {
        for architecture in REAL {
            let log = compile(&nvrtc, &source, architecture).log;
            let spills: Vec<&str> = log.lines().filter(|line| line.contains("bytes spill stores")).collect();
            assert!(!spills.is_empty(), "{} for {architecture} says nothing:\n{log}", source.display());
            for line in spills {
                let none = line.contains(" 0 bytes spill stores, 0 bytes spill loads");
                assert!(none, "{} for {architecture}: {line}\n{log}", source.display());
            }
        }
    }
}

#[test]
fn the_parameters_in_the_ptx_are_as_large_as_those_of_the_emulated_kernels() {
    let mut entries = BTreeMap::new();
    for source in sources() {
        entries.extend(entries_of(&fs::read_to_string(committed(&source)).unwrap()));
    }
    let emulated = emulated().kernels().map(|(name, sizes)| (name.to_owned(), sizes.to_vec()));
    assert_eq!(entries, emulated.collect());
}

/// Reads the name of each kernel in a PTX file, and the sizes of its parameters in bytes.
fn entries_of(ptx: &str) -> BTreeMap<String, Vec<usize>> {
    let entry = |text: &str| {
        let (name, rest) = text.split_once('(').unwrap();
        let (parameters, _) = rest.split_once(')').unwrap();
        (name.to_owned(), parameters.split(',').map(parameter_size).collect())
    };
    ptx.split(".visible .entry ").skip(1).map(entry).collect()
}

/// Reads `.param .u64 NAME` or `.param .align 8 .b8 NAME[264]`.
fn parameter_size(parameter: &str) -> usize {
    let words: Vec<&str> = parameter.split_whitespace().collect();
    let bits = words.iter().rev().find_map(|word| word.strip_prefix(['.']).and_then(bits_of)).unwrap();
    let count = words.last().and_then(|name| name.strip_suffix(']')?.split_once('['));
    bits / 8 * count.map_or(1, |(_, count)| count.parse().unwrap())
}

/// Reads the bits of a type such as `u64`.
fn bits_of(kind: &str) -> Option<usize> {
    kind.strip_prefix(['u', 's', 'b', 'f'])?.parse().ok()
}
