//! `cargo xtask interop`: what callbox writes, torch, safetensors and FlashInfer read; what they write, callbox
//! reads.

mod venv;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{cargo, program, root, run as run_command};

/// Set to `off`, it leaves all of this out.
const SWITCH: &str = "CALLBOX_INTEROP";
/// Random dumps in each format and direction, unless `--count` says otherwise.
const COUNT: usize = 500;
/// FlashInfer's two examples, and where their binaries leave a session.
const EXAMPLES: [(&str, &str); 2] =
    [("bmm_fp8_producer", "bmm_fp8"), ("batch_decode_producer", "batch_decode")];

/// Runs all checks; `arguments` may be `--count N`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let count = match arguments {
        [] => COUNT,
        [flag, count] if flag == "--count" => {
            count.parse().map_err(|_| format!("`{count}` is no number of random dumps"))?
        }
        _ => return Err("`interop` takes `--count N` and nothing else".to_owned()),
    };
    if variable(SWITCH).is_some_and(|value| value == "off") {
        println!("left out: interop ({SWITCH}=off)");
        return Ok(());
    }
    let python = venv::python()?;
    let work = fresh_folder()?;
    let corpus = corpus();
    record(&work, count, corpus.as_deref())?;
    record_examples(&work)?;
    check(&python, &work, count, corpus.as_deref())?;
    let mut read = interop(&["read"]);
    read.arg(&work);
    run_command(read, "reading what the peers wrote")
}

/// Returns the interpreter of the peers' environment, where it is installed already.
pub(crate) fn existing_python() -> Option<PathBuf> {
    venv::existing_python()
}

/// Returns an environment variable that is set to something.
#[expect(clippy::disallowed_methods, reason = "this program's own settings")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn fresh_folder() -> Result<PathBuf, String> {
    let work = root().join("target/interop");
    let failed = |error| format!("failed to empty {}: {error}", work.display());
    if work.exists() {
        fs::remove_dir_all(&work).map_err(failed)?;
    }
    fs::create_dir_all(&work).map_err(failed)?;
    Ok(work)
}

/// Finds the recorded sessions as the tests do; says what is left out where there are none.
fn corpus() -> Option<PathBuf> {
    let folder = variable("CALLBOX_CORPUS").map_or_else(|| root().join("../shared/corpus"), PathBuf::from);
    let found = folder.join("truth.json").is_file();
    if !found {
        println!("left out: recorded tensors written again (no corpus; set CALLBOX_CORPUS)");
    }
    found.then_some(folder)
}

/// Finds the programs of FlashInfer's documentation; says what is left out where there are none.
fn scripts() -> Option<PathBuf> {
    let folder = root().join("../shared/spec/scripts");
    let found = folder.join("manual_replay.py").is_file() && folder.join("scan_session.py").is_file();
    if !found {
        println!("left out: manual_replay.py and scan_session.py (not at {})", folder.display());
    }
    found.then_some(folder)
}

fn interop(arguments: &[&str]) -> Command {
    let mut command = cargo(&["run", "--quiet", "--package", "callbox-interop", "--"]);
    command.args(arguments);
    command
}

fn record(work: &Path, count: usize, corpus: Option<&Path>) -> Result<(), String> {
    let mut command = interop(&["write", "--count", &count.to_string()]);
    command.arg(work);
    if let Some(corpus) = corpus {
        command.arg("--corpus").arg(corpus);
    }
    run_command(command, "recording sessions for the peers")
}

fn record_examples(work: &Path) -> Result<(), String> {
    for (binary, session) in EXAMPLES {
        let mut command = cargo(&["run", "--quiet", "--package", "callbox-examples", "--bin", binary]);
        let folder = examples(work).join(session);
        forget_settings(&mut command);
        command.env("FLASHINFER_LOGLEVEL", "10").env("FLASHINFER_DUMP_DIR", &folder);
        command.env("FLASHINFER_LOGDEST", folder.with_extension("log"));
        let output = command.output().map_err(|error| format!("failed to start {binary}: {error}"))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{binary} failed: {}\n{told}", output.status));
        }
    }
    Ok(())
}

fn examples(work: &Path) -> PathBuf {
    work.join("examples")
}

fn check(python: &Path, work: &Path, count: usize, corpus: Option<&Path>) -> Result<(), String> {
    let mut command = program(&python.to_string_lossy());
    forget_settings(&mut command);
    // FlashInfer makes folders there when it is imported.
    command.env("FLASHINFER_WORKSPACE_BASE", work.join("flashinfer"));
    // The interpreter would leave its compiled files beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(root().join("interop/check.py")).arg(work).args(["--count", &count.to_string()]);
    command.arg("--examples").arg(examples(work));
    if let Some(corpus) = corpus {
        command.arg("--corpus").arg(corpus);
    }
    if let Some(scripts) = scripts() {
        command.arg("--scripts").arg(scripts);
    }
    run_command(command, "interop/check.py")
}

/// Keeps the user's own settings of FlashInfer out.
#[expect(clippy::disallowed_methods, reason = "what a started program inherits is the environment's matter")]
fn forget_settings(command: &mut Command) {
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"FLASHINFER_")) {
        command.env_remove(name);
    }
}
