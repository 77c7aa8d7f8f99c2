//! `cargo xtask cuda`: the CUDA kernels, without a GPU.
//!
//! The sources are compiled as C++ for the host, each CUDA thread a fiber, and compared with the kernels for the CPU:
//! as they are, under the sanitizers for addresses and undefined behaviour, and, a thread of the host for each CUDA
//! thread, under the one for threads. NVIDIA's compiler says what it makes of them. The Rust side is tried on a driver of
//! the tests' own: by itself, and with these kernels behind it. Then each bug of a list is planted, and its test has to
//! fail.
//!
//! With `--hardware` the last of these tests run on the machine's own driver, and nothing else does.

mod compiler;
mod driver;
mod nvrtc;
mod planted;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use self::compiler::{Build, Compiler};
pub(crate) use self::planted::planted_bugs;
use crate::cargo::{cargo, program, run};

/// Its tests need the library that is built here; `cargo xtask test` leaves them out.
pub(crate) const PACKAGE: &str = "callbox-cuda-tests";
/// Tells the tests where the library is.
const LIBRARY_VARIABLE: &str = "CALLBOX_EMULATED_KERNELS";

/// What an application may choose of cudarc in place of our own feature: the oldest version of CUDA that we call and a
/// newer one, and another way to link.
const OTHER_CHOICES: [&str; 3] = [
    "cudarc/cuda-12000,cudarc/dynamic-loading",
    "cudarc/cuda-13000,cudarc/dynamic-loading",
    "cudarc/cuda-12080,cudarc/dynamic-linking",
];

/// Runs every step up to the first failure, each named by its rung in `crates/kernels-cuda/README.md`, and prints their
/// times; `arguments` may be `--update-ptx` or `--hardware`.
pub(crate) fn command(arguments: &[String]) -> Result<(), String> {
    let mut steps = Steps::default();
    let done = match arguments {
        [] => Compiler::find().and_then(|compiler| every_step(&compiler, false, &mut steps)),
        [flag] if flag == "--update-ptx" => {
            Compiler::find().and_then(|compiler| every_step(&compiler, true, &mut steps))
        }
        [flag] if flag == "--hardware" => driver::on_hardware(&mut steps),
        _ => return Err("`cuda` takes `--update-ptx` or `--hardware`, and nothing else".to_owned()),
    };
    println!("\n{}", steps.table());
    done
}

fn check(features: &str) -> Result<(), String> {
    let mut command = cargo(&["check", "--quiet", "-p", "callbox-kernels-cuda", "--no-default-features"]);
    command.args(["--features", features]);
    run(command, &format!("`cargo check` with {features}"))
}

fn every_step(compiler: &Compiler, update: bool, steps: &mut Steps) -> Result<(), String> {
    steps.run("1: build and tests without CUDA", || {
        let command = cargo(&["test", "--quiet", "-p", "callbox-kernels-cuda"]);
        run(command, "the tests of the Rust side")
    })?;
    steps.run("1: cudarc as others choose", || {
        OTHER_CHOICES.iter().try_for_each(|features| check(features))
    })?;
    let plain = steps.run("2: build", || compiler.build(Build::Plain, None))?;
    steps.run("2: numbers", || run(tests(&plain, None, None), "the tests of the kernels"))?;
    let nvrtc = steps.run("5: install NVIDIA's compiler", nvrtc::library)?;
    steps.run("5: PTX", || run(nvrtc::tests(&nvrtc, &plain, update), "the tests of the PTX"))?;
    let checked = steps.run("3: build for addresses", || compiler.build(Build::Addresses, None))?;
    let runtime = compiler.address_runtime()?;
    steps.run("3: tests, addresses", || {
        run(tests(&checked, Some(&runtime), None), "the tests under the sanitizers for addresses")
    })?;
    let race = steps.run("3: build for threads", || compiler.build(Build::Threads, None))?;
    steps.run("3: races", || run(program(&race.to_string_lossy()), "the search for races"))?;
    driver::on_fake(&plain, steps)?;
    planted::run_all(compiler, &plain, &runtime, steps)
}

/// Prepares the tests with a library, or one test; `runtime` is the sanitizer's, which has to come first.
fn tests(library: &Path, runtime: Option<&Path>, test: Option<&str>) -> Command {
    let mut command = cargo(&["test", "--quiet", "-p", PACKAGE, "--test", "all"]);
    command.env(LIBRARY_VARIABLE, library);
    if let Some(runtime) = runtime {
        // The runner of the tests, not cargo and the compiler, is what the sanitizer comes into.
        let preload = format!("LD_PRELOAD={}", runtime.display());
        let runner = ["env", &preload, "ASAN_OPTIONS=detect_leaks=0", "UBSAN_OPTIONS=print_stacktrace=1"];
        command.arg("--config").arg(format!("target.'cfg(unix)'.runner={runner:?}"));
    }
    if let Some(test) = test {
        command.args(["--", "--exact", test]);
    }
    command
}

/// Steps that have run, and how long they took.
#[derive(Debug, Default)]
struct Steps(Vec<(String, Duration)>);

impl Steps {
    fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        println!("== {name}");
        #[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
        let start = Instant::now();
        let outcome = step();
        self.0.push((name.to_owned(), start.elapsed()));
        outcome.map_err(|message| format!("{name}: {message}"))
    }

    fn table(&self) -> String {
        let lines = self.0.iter().map(|(name, time)| format!("{name:<36} {:>6.1} s", time.as_secs_f64()));
        lines.collect::<Vec<_>>().join("\n")
    }
}
