//! From the command line to the answer of the process.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use callbox_replay::ExecutorFactory;
use clap::{CommandFactory, FromArgMatches};

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::{convert, list, replay, show, style, verify};

/// Opens a CUDA device by its index, and makes executors on it; an error says what is missing, and what to do.
pub type OpenCuda = dyn Fn(u32) -> Result<Box<ExecutorFactory<'static>>, Box<dyn Error + Send + Sync>> + Sync;

/// What runs calls, by device.
#[derive(Clone, Copy)]
pub struct Executors<'a> {
    /// On the CPU.
    pub cpu: &'a ExecutorFactory<'static>,
    /// On CUDA devices; `None`: the program has nothing for them.
    pub cuda: Option<&'a OpenCuda>,
}

/// Shows which devices there is something for.
impl fmt::Debug for Executors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executors").field("cuda", &self.cuda.is_some()).finish_non_exhaustive()
    }
}

/// Runs the command that the process was started with, and returns what the process has to answer.
///
/// `executors` run the calls on the CPU. A program calls this first thing in its `main`: with `--isolate` it is started
/// again, as the worker that runs a call.
pub fn run(executors: &ExecutorFactory<'static>) -> ExitCode {
    run_on(&Executors { cpu: executors, cuda: None })
}

/// Runs the command as [`run`] does, on any device that there are executors for.
///
/// A CUDA device is opened when `--device cuda` asks for it, once in each process.
pub fn run_on(executors: &Executors<'_>) -> ExitCode {
    let (program, arguments) = invocation();
    let parsed =
        named(program).try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            style::tell(&usage_complaint(program, &error));
            return Exit::Usage.into();
        }
        // Help and version are answers. Where they cannot be printed there is nobody to tell.
        Err(answer) => {
            answer.print().ok();
            return Exit::Good.into();
        }
    };
    let outcome = match &cli.command {
        Command::Replay(arguments) => replay::run(arguments, executors, program),
        Command::List(arguments) => list::run(arguments, executors.cpu, program),
        Command::Show(arguments) => show::run(arguments, executors, program),
        Command::Convert(arguments) => convert::run(arguments, program),
        Command::Verify(arguments) => verify::run(arguments, program),
        Command::Worker(arguments) => replay::work(arguments, executors),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) if is_broken_pipe(&failure) => Exit::Good.into(),
        Err(failure) => {
            style::tell(&complaint(program, &failure));
            failure.exit.into()
        }
    }
}

/// Returns the name to go by, and the arguments.
///
/// Called through a link named `flashinfer`, the program answers to that name: `flashinfer replay --dir DIR`
/// is the command that FlashInfer's documentation gives.
fn invocation() -> (&'static str, Vec<std::ffi::OsString>) {
    let arguments: Vec<_> = std::env::args_os().collect();
    let file = arguments.first().map(Path::new).and_then(Path::file_stem);
    let program = if file.is_some_and(|name| name == "flashinfer") { "flashinfer" } else { "callbox" };
    (program, arguments)
}

/// Builds the command line under the name to go by, in the examples too.
fn named(program: &'static str) -> clap::Command {
    let mut command = Cli::command().name(program).bin_name(program);
    for subcommand in command.get_subcommands_mut() {
        if let Some(examples) = subcommand.get_after_help() {
            let examples = examples.to_string().replace("callbox", program);
            *subcommand = subcommand.clone().after_help(examples);
        }
    }
    command
}

/// Says in one line what went wrong.
fn complaint(program: &str, failure: &Failure) -> String {
    let label = style::paint(style::red().bold(), "error");
    let causes: Vec<_> = failure.error.chain().map(ToString::to_string).collect();
    format!("{program}: {label}: {}", style::clean(&causes.join(": ")))
}

/// Says in one line what is wrong with the command line, and where help is.
fn usage_complaint(program: &str, error: &clap::Error) -> String {
    let text = error.to_string();
    let mut paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let first = paragraphs.next().unwrap_or_default();
    let tip = paragraphs
        .find(|paragraph| paragraph.starts_with("tip:"))
        .map_or(String::new(), |tip| format!("; {tip}"));
    let label = style::paint(style::red().bold(), "error");
    let message = style::clean(&format!("{}{tip}", first.trim_start_matches("error: ")));
    format!("{program}: {label}: {message}; see {program} --help")
}

/// Tells whether the reader of our output went away, as `head` does: that is no failure.
fn is_broken_pipe(failure: &Failure) -> bool {
    let error = failure.error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
