#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod batch_decode;
mod harness;
mod log;
mod plain;
mod read;
mod record;
mod replay;
mod report;
mod scan;
mod session;
mod statistics;
mod write;

use std::env;
use std::process::ExitCode;

use crate::harness::Measurement;

type Bench = fn() -> anyhow::Result<Vec<Measurement>>;

const BENCHES: [(&str, Bench); 7] = [
    ("log", log::measure),
    ("read", read::measure),
    ("record", record::measure),
    ("scan", scan::measure),
    ("replay", replay::measure),
    ("statistics", statistics::measure),
    ("write", write::measure),
];

const HELP: &str = "\
Usage: cargo xtask bench [--json] [NAME]...

Names (all, if none is given):
  log         write events of levels 1 and 3 to a file
  read        load and touch a 64 MiB tensor from .pt and .safetensors, read and mapped
  record      make calls of an annotated function at each level, and FlashInfer's where its venv is there
  scan        list a session of 100,000 calls
  replay      replay a batch decode on the CPU
  statistics  statistics of 64 MiB tensors of several dtypes, of a view with gaps, and of small tensors
  write       write tensors of 1 KiB to 512 MiB as .pt and .safetensors, and whole tiny calls

  --json      print one JSON array and nothing else
";

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (options, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with('-'));
    if options.iter().any(|option| matches!(*option, "-h" | "--help")) {
        print!("{HELP}");
        return Ok(());
    }
    if let Some(option) = options.iter().find(|option| **option != "--json") {
        anyhow::bail!("there is no option `{option}`\n\n{HELP}");
    }
    let is_known = |name: &str| BENCHES.iter().any(|(known, _)| name == *known);
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        anyhow::bail!("there is no measurement `{name}`\n\n{HELP}");
    }
    let mut measurements = Vec::new();
    for (name, bench) in BENCHES {
        if names.is_empty() || names.contains(&name) {
            measurements.extend(bench()?);
        }
    }
    if options.is_empty() {
        print!("{}", report::table(&measurements));
    } else {
        println!("{}", report::json(&measurements));
    }
    Ok(())
}
