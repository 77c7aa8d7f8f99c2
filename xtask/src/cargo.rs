//! Running cargo and other programs in the workspace's root.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in a folder of the workspace")
        .to_owned()
}

/// Prepares a program to run in the workspace's root.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

/// Prepares the cargo that runs this program.
#[expect(clippy::disallowed_methods, reason = "cargo tells its programs which cargo runs them")]
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = program(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.args(arguments);
    command
}

/// Runs a command to its end; its output goes where ours goes. `what` names it in the error.
pub(crate) fn run(mut command: Command, what: &str) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("failed to start {what}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed: {status}")) }
}

/// Builds the benchmarks with optimisation and runs them; `peer` is the interpreter of an environment with
/// FlashInfer, which some compare with.
pub(crate) fn bench(arguments: &[String], peer: Option<&Path>) -> Result<(), String> {
    let mut command = cargo(&["run", "--quiet", "--release", "--package", "callbox-bench", "--"]);
    command.args(arguments);
    if let Some(python) = peer {
        command.env("CALLBOX_PEER_PYTHON", python);
    }
    run(command, "the benchmarks")
}
