//! Programs that record into one session.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use callbox_tests::soaks;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::progress::{Progress, progress_of};

const WORKER: &str = env!("CARGO_BIN_EXE_worker");
pub(crate) const PROCESSES: usize = 8;
/// How long a process lives that is killed again and again.
pub(crate) const LIFE: Duration = Duration::from_millis(50);
/// Many times what a program takes that forks, in pauses.
const PATIENCE: usize = 600;
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn calls() -> u64 {
    if soaks() { 10_000 } else { 1_000 }
}

/// A folder on the disk that the build is on: the system's temporary files may be in memory.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A worker that records into a folder's session.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) child: Child,
    name: String,
    output: PathBuf,
}

impl Worker {
    /// Starts a worker; `before` is the program that starts it, with arguments.
    pub(crate) fn start(folder: &Path, before: &[&str], name: &str, arguments: &[&str]) -> Worker {
        Worker::start_with(folder, before, name, arguments, &[])
    }

    /// As [`Worker::start`], with variables of recording besides.
    pub(crate) fn start_with(
        folder: &Path,
        before: &[&str],
        name: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Worker {
        let mut words = before.iter().copied().chain([WORKER, name]).chain(arguments.iter().copied());
        let output = folder.join(format!("{name}.out"));
        let child = Command::new(words.next().unwrap())
            .args(words)
            .env("FLASHINFER_LOGLEVEL", "10")
            .env("FLASHINFER_LOGDEST", folder.join("logs/%i.log"))
            .env("FLASHINFER_DUMP_DIR", folder.join("dumps"))
            .env("FLASHINFER_DUMP_MAX_COUNT", "1000000")
            .envs(variables.iter().copied())
            .stdout(File::create(&output).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Worker { child, name: name.to_owned(), output }
    }

    /// Waits until the worker has recorded all of its calls.
    pub(crate) fn finish(mut self) -> Progress {
        assert!(self.child.wait().unwrap().success(), "{} ends well", self.name);
        progress_of(&self.output)
    }

    /// Ends the worker wherever it is.
    pub(crate) fn kill(mut self) -> Progress {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        progress_of(&self.output)
    }
}

/// Names for as many workers as there are to be.
pub(crate) fn names() -> Vec<String> {
    (0..PROCESSES).map(|number| format!("worker{number}")).collect()
}

/// Runs a program to its end, which it may never come to: a child has no thread that would end what the parent's had
/// begun.
pub(crate) fn ends_well(mut program: Command) {
    let mut running = program.process_group(0).spawn().unwrap();
    for _ in 0..PATIENCE {
        if let Some(status) = running.try_wait().unwrap() {
            return assert!(status.success(), "{program:?}: {status}");
        }
        thread::sleep(PAUSE);
    }
    // Its children with it: they would keep the test's output open.
    kill_process_group(Pid::from_child(&running), Signal::KILL).unwrap();
    panic!("{program:?} waits for ever");
}
