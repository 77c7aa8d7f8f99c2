//! Compiling the kernels as C++ for the host.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cargo::{program, root, run};

const NAME: &str = "g++";
const SOURCES: &str = "crates/kernels-cuda/emulation";
/// What is built, and nothing else, lies here.
pub(super) const TARGET: &str = "target/cuda";
const OPTIONS: [&str; 6] = [
    "-std=c++20",
    "-O2",
    "-g1",
    "-Wall",
    "-Wextra",
    // Where the processor can multiply and add in one step, the compiler is not to do it: codes have to be exact.
    "-ffp-contract=off",
];

/// What to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// The shared library.
    Plain,
    /// The same, which stops at a wrong address or undefined behaviour.
    Addresses,
    /// A program that runs each kernel with a thread for each CUDA thread, and tells which accesses no barrier orders.
    Threads,
}

/// The compiler for C++.
#[derive(Debug)]
pub(super) struct Compiler;

impl Compiler {
    /// Finds the compiler, or says how it is installed.
    pub(super) fn find() -> Result<Compiler, String> {
        let version = Command::new(NAME).arg("--version").output().map_err(|error| {
            format!(
                "failed to start {NAME}: {error}; install it with its sanitizers (Debian and Ubuntu: package `g++`, \
                 Fedora: `gcc-c++`, `libasan`, `libubsan` and `libtsan`)"
            )
        })?;
        let version = String::from_utf8_lossy(&version.stdout);
        println!("{}", version.lines().next().unwrap_or(NAME));
        Ok(Compiler)
    }

    /// Builds the emulated kernels, if asked for with a bug planted; returns the path of the library or program.
    pub(super) fn build(&self, build: Build, bug: Option<&str>) -> Result<PathBuf, String> {
        let folder = root().join(TARGET);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
        let kind = match build {
            Build::Plain => "kernels.so",
            Build::Addresses => "kernels-addresses.so",
            Build::Threads => "races",
        };
        let name = bug.map_or(kind.to_owned(), |bug| format!("{bug}-{kind}").to_lowercase());
        let path = folder.join(name);
        let mut command = program(NAME);
        command.args(OPTIONS);
        command.args(build.options()).args(build.sources().map(|source| format!("{SOURCES}/{source}")));
        command.args(bug.map(|bug| format!("-DCALLBOX_PLANTED_BUG={bug}"))).arg("-o").arg(&path);
        run(command, NAME)?;
        Ok(path)
    }

    /// Returns the path of the runtime of the sanitizer for addresses.
    pub(super) fn address_runtime(&self) -> Result<PathBuf, String> {
        let answer = Command::new(NAME).arg("-print-file-name=libasan.so").output();
        let answer = answer.map_err(|error| format!("failed to start {NAME}: {error}"))?;
        let path = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
        // It may be a script for the linker, or a link: what is loaded is behind it.
        match fs::canonicalize(&path) {
            Ok(path) => Ok(path),
            Err(error) => Err(format!("{NAME} has no runtime of its address sanitizer: {error}")),
        }
    }
}

impl Build {
    fn options(self) -> &'static [&'static str] {
        match self {
            Build::Plain => &["-shared", "-fPIC"],
            Build::Addresses => {
                &["-shared", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
            }
            Build::Threads => &["-fsanitize=thread", "-DCALLBOX_THREADS", "-pthread"],
        }
    }

    fn sources(self) -> impl Iterator<Item = &'static str> {
        let sources: &[&str] = match self {
            Build::Plain | Build::Addresses => &["kernels.cpp", "fibers.cpp"],
            Build::Threads => &["races.cpp", "threads.cpp"],
        };
        sources.iter().copied()
    }
}
