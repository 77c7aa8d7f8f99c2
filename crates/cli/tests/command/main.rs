//! The command as a user runs it: what it prints, and how it ends.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod convert;
mod list;
mod replay;
mod show;
mod verify;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Returns a recorded session that lies in the repository.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/sessions").join(name)
}

/// Runs the command in a clean environment.
fn callbox(arguments: &[&str]) -> Ran {
    run(Command::new(env!("CARGO_BIN_EXE_callbox")).args(arguments))
}

fn run(command: &mut Command) -> Ran {
    command.env_remove("FLASHINFER_LOGLEVEL").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    // Journals of tests are no matter of whoever runs them.
    command.env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"));
    Ran(command.output().unwrap())
}

/// What a run printed and answered.
struct Ran(Output);

impl Ran {
    fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    fn stdout(&self) -> &str {
        std::str::from_utf8(&self.0.stdout).unwrap()
    }

    fn stderr(&self) -> &str {
        std::str::from_utf8(&self.0.stderr).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout()))
    }
}

/// Copies a session into a folder of the test's own.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns the folder of the call whose name ends so.
fn call_folder(session: &Path, ending: &str) -> PathBuf {
    let entries = std::fs::read_dir(session).unwrap().map(|entry| entry.unwrap().path());
    let mut found = entries.filter(|path| path.to_str().unwrap().ends_with(ending));
    found.next().unwrap_or_else(|| panic!("no call {ending}"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
