#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod cargo;
mod ci;
mod cuda;
mod fuzz;
mod interop;
mod level_off;
mod mutants;
mod planted;
mod readme;
mod soak;
mod test;
mod tidy;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask COMMAND

Commands:
  test [ARGS]    Run the workspace's tests, but for those of `cuda`, and count them over all binaries. ARGS go to
                 `cargo test`: a filter, `-p PACKAGE`, `-- --nocapture`. Selecting no test at all is a failure.
                 `--props` stands for the property tests of the filter and of the crash-safe order.
  tidy           Check what the compiler does not: which crate may depend on which, lengths, names,
                 where files, clocks, unsafe code and serialisation may appear, documents, leftovers.
  ci             Everything that must hold: fmt, clippy, tidy, test, the tests behind features,
                 doc, level-off, cuda, interop, the README's own commands.
                 Stops at the first failure.
  level-off      Compare the machine code of an annotated function with that of the plain one, in a build that
                 leaves recording out.
  interop [--count N]
                 Let torch, safetensors and FlashInfer read what callbox writes, and the other way round, with N
                 random dumps (500). Installs them once, 7 GB in the user's cache. `CALLBOX_INTEROP_VENV` names
                 another place; `CALLBOX_INTEROP=off` leaves it out.
  cuda [--update-ptx|--hardware]
                 Run the CUDA kernels on the host: their numbers against those of the kernels for the CPU, wrong addresses,
                 races, barriers, what NVIDIA's compiler makes of them, the executor on a driver of the tests' own, and the
                 bugs that are planted for these. Needs no GPU, but g++ with its sanitizers, and python3 with pip for NVIDIA's
                 compiler (89 MB, once). `--hardware` runs the tests of the executor on the machine's own driver instead.
  planted [BUG]  Plant each bug of the list in xtask/src/planted.rs, or one, and run the test that has to fail.
  soak [NAME]    Run the large sizes of the tests in the list of xtask/src/soak.rs, or one, and print their figures.
  fuzz [TARGET...] [--seconds N] [--jobs N] [--keep]
                 Try mutated inputs on every reader, or on some, for N seconds each (60), N targets at a time (1). What
                 a reader falls over is made small and kept under fuzz/regressions, where a test replays it. `--keep`
                 chooses among the inputs of earlier runs the few that reach as much code. Needs a C++ compiler.
  mutants [--shard K/N] [--package format-pt|writer]
                 Change the reader of .pt files and the dump writer, one thing at a time, and count the changes that
                 a test notices. All of it takes hours. Installs cargo-mutants where it is missing.
  bench [NAME]   Measure against baselines of the same run; `bench --help` lists the measurements.

Each ends with exit code 0 if all is well and with 1 if not.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("--help", [].as_slice()),
    };
    let outcome = match command {
        "test" => Ok(test::command(rest)),
        "tidy" if rest.is_empty() => tidy::run().map(|()| true),
        "cuda" => cuda::command(rest).map(|()| true),
        "ci" if rest.is_empty() => Ok(ci::command()),
        "level-off" if rest.is_empty() => level_off::command().map(|text| {
            println!("{text}");
            true
        }),
        "planted" if rest.len() <= 1 => planted::command(rest.first().map(String::as_str)).map(|()| true),
        "soak" if rest.len() <= 1 => soak::command(rest.first().map(String::as_str)).map(|()| true),
        "fuzz" => fuzz::command(rest).map(|()| true),
        "mutants" => mutants::command(rest).map(|()| true),
        "interop" => interop::run(rest).map(|()| true),
        "bench" => cargo::bench(rest, interop::existing_python().as_deref()).map(|()| true),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(true)
        }
        "tidy" | "ci" | "level-off" => Err(format!("`{command}` takes no arguments\n\n{HELP}")),
        other => Err(format!("there is no command `{other}`\n\n{HELP}")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        // It has said why.
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
