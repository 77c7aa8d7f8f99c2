//! The worker's side: runs the calls that it is told to, and says in which it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;

use callbox_core::{DumpSource, Executor, OwnedValue};
use callbox_replay::{CallReport, Objects, replay_from_dump};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, Signal, getpgrp, getpid, kill_current_process_group, kill_process};
use rustix::stdio::{dup2_stdin, dup2_stdout};

use crate::limits;
use crate::process::MARK;
use crate::wire::{Message, Report, Request};

/// What a worker runs calls with: the composition's choice, as in the process that started it.
#[derive(Debug)]
pub struct Parts {
    /// Where the calls are.
    pub source: Box<dyn DumpSource>,
    /// What runs them.
    pub executor: Box<dyn Executor>,
}

/// Runs the calls that the process asks for which started this one; returns when all have ended.
///
/// A program calls this first thing, before it prints or starts a thread. `parts` is asked when the limits are set;
/// its error is the reason why no call was run. `describe` puts results into words that cannot be compared.
///
/// Standard input and output are taken: what a call prints goes to standard error, and what it reads is empty. When
/// the parent is gone, this process and everything in its group is killed.
pub fn serve(
    parts: &dyn Fn() -> Result<Parts, String>,
    describe: &dyn Fn(&OwnedValue) -> String,
) -> io::Result<()> {
    let (mut requests, mut answers) = take_channels()?;
    let mut line = String::new();
    requests.read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, "a worker is started by a replay, and by nothing else")
    })?;
    die_with_parent(requests)?;
    limits::bind(request.memory);
    let Parts { source, mut executor } = match parts() {
        Ok(parts) => parts,
        Err(message) => return answer(&mut answers, &Message::Broken(message)),
    };
    let options = request.replay_options();
    let mut objects = Objects::default();
    for (index, step) in request.steps.iter().enumerate() {
        // Where it cannot be written, what the call prints is not told either.
        io::stderr().write_all(&[MARK]).ok();
        answer(&mut answers, &Message::Begin(index))?;
        let mut replayed = replay_from_dump(&*source, &step.call(), &mut *executor, &mut objects, &options);
        replayed.forget_values();
        let report = step.selected.then(|| Box::new(Report::new(&CallReport::new(replayed, describe))));
        answer(&mut answers, &Message::End(report))?;
    }
    // An object that crashes when it is dropped does so before the last call is taken for done.
    drop((objects, executor));
    answer(&mut answers, &Message::Done)
}

/// Takes the pipes from the standard streams, where a call would find them.
fn take_channels() -> io::Result<(BufReader<File>, File)> {
    /// Above the standard streams.
    const LOWEST: i32 = 3;
    let requests = fcntl_dupfd_cloexec(io::stdin(), LOWEST)?;
    let answers = fcntl_dupfd_cloexec(io::stdout(), LOWEST)?;
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(io::stderr())?;
    Ok((BufReader::new(requests.into()), answers.into()))
}

/// A line in one write, whole or not at all for whoever reads it.
fn answer(answers: &mut File, message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    answers.write_all(&line)
}

/// Waits on a thread of its own for the end of the pipe, which only the parent holds, however the parent ends.
///
/// A signal at the parent's death (`PR_SET_PDEATHSIG`) would reach this process alone, not what a call started, and
/// would come when the parent's thread ends.
fn die_with_parent(mut requests: BufReader<File>) -> io::Result<()> {
    let wait = move || {
        let mut rest = [0; 64];
        while matches!(requests.read(&mut rest), Ok(count) if count > 0) {}
        kill_all(getpid());
    };
    thread::Builder::new().name("parent".to_owned()).spawn(wait).map(drop)
}

/// Kills this process, and its group where that is its own.
fn kill_all(this: Pid) {
    if getpgrp() == this {
        kill_current_process_group(Signal::KILL).ok();
    }
    kill_process(this, Signal::KILL).ok();
}
