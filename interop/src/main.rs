#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

mod call;
mod corpus;
mod endings;
mod graphs;
mod layouts;
mod random;
mod random_calls;
mod session;
mod tensor;
mod theirs;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use callbox_core::Limits;
use clap::{Parser, Subcommand};
use serde_json::json;

use crate::session::{Format, record};

/// Writes sessions for callbox's peers, and reads what they wrote.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record sessions into a folder and describe them in its `expected.json`.
    Write {
        /// The folder.
        work: PathBuf,
        /// Number of random calls in each format.
        #[arg(long, default_value_t = 500)]
        count: usize,
        /// A corpus of recorded sessions, to be written again.
        #[arg(long)]
        corpus: Option<PathBuf>,
    },
    /// Read what the peers wrote into the folder.
    Read {
        /// The folder.
        work: PathBuf,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Write { work, count, corpus } => write(&work, count, corpus.as_deref()),
        Command::Read { work } => {
            for (format, (files, tensors)) in theirs::check(&work)? {
                println!("random .{format} files of theirs: {files} files, {tensors} tensors: equal");
            }
            Ok(())
        }
    }
}

fn write(work: &Path, count: usize, corpus: Option<&Path>) -> Result<()> {
    let mut sessions = Vec::new();
    let limits = Limits { max_count: u64::MAX, ..Limits::default() };
    for format in Format::ALL {
        let name = |subject| format!("{subject}-{}", format.extension());
        sessions.push(record(work, &name("layouts"), format, limits, &layouts::calls())?);
        sessions.push(record(work, &name("values"), format, limits, &values::calls())?);
        sessions.push(record(work, &name("endings"), format, endings::LIMITS, &endings::calls())?);
        sessions.push(record(work, &name("random"), format, limits, &random_calls::calls(count))?);
        graphs::record(work, &name("graphs"), format)?;
    }
    let written = corpus.map(|corpus| corpus::rewrite(work, corpus)).transpose()?;
    let expected = json!({ "sessions": sessions, "corpus": written });
    fs::write(work.join("expected.json"), serde_json::to_vec(&expected)?)?;
    Ok(())
}
