//! The program `callbox` on the device: its verdicts are those that it gives on the CPU.
#![expect(clippy::disallowed_methods, reason = "programs are started in environments of their own")]

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use callbox_cuda_driver_tests::Machine;
use serde_json::Value;
use tempfile::TempDir;

use crate::on_device;

/// The program, and a folder in which the driver has its usual name.
struct Program {
    path: PathBuf,
    driver: Option<TempDir>,
}

impl Program {
    /// `CALLBOX_PROGRAM` names it, and the example is beside it; otherwise they are where cargo puts them.
    fn new(machine: Machine) -> Program {
        let deps = env::current_exe().unwrap().parent().unwrap().to_owned();
        let path = env::var_os("CALLBOX_PROGRAM")
            .map_or_else(|| deps.parent().unwrap().join("callbox"), PathBuf::from);
        assert!(path.is_file(), "{} is not there: cargo build -p callbox-cli", path.display());
        let driver = matches!(machine, Machine::Fake(_)).then(|| {
            let folder = TempDir::new().unwrap();
            let built = env::var_os("CALLBOX_FAKE_DRIVER")
                .map_or_else(|| deps.join("libcallbox_fake_driver.so"), PathBuf::from);
            symlink(built, folder.path().join("libcuda.so")).unwrap();
            folder
        });
        Program { path, driver }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(&self.path).args(arguments).output().unwrap()
    }

    /// Prepares a program to run on the machine.
    fn command(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        if let Some(driver) = &self.driver {
            command.env("LD_LIBRARY_PATH", driver.path());
        }
        command
    }

    /// Replays a session; returns name, verdict and reason of each call, and the exit code.
    fn replay(&self, session: &Path, device: &str, more: &[&str]) -> (Vec<[String; 3]>, i32) {
        let session = session.to_str().unwrap();
        let arguments = [&["replay", session, "--device", device, "--json"], more].concat();
        let output = self.run(&arguments);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let calls = report["calls"].as_array().unwrap().iter().map(|call| {
            ["function", "verdict", "text"].map(|key| call[key].as_str().unwrap_or_default().to_owned())
        });
        (calls.collect(), output.status.code().unwrap())
    }
}

/// Compares the verdicts on a session's calls; returns how many of them the device has the functions for.
fn check_session(program: &Program, session: &Path, more: &[&str]) -> usize {
    let (on_cpu, _) = program.replay(session, "cpu", more);
    let (on_cuda, _) = program.replay(session, "cuda", more);
    assert_eq!(on_cpu.len(), on_cuda.len());
    let mut compared = 0;
    for (cpu, cuda) in on_cpu.iter().zip(&on_cuda) {
        if cuda[1] == "skipped" && cuda[2].contains("no executor for") {
            continue;
        }
        compared += 1;
        assert_eq!(cuda[..2], cpu[..2], "{}: {cuda:?}, on the CPU {cpu:?}", session.display());
    }
    compared
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/sessions/batch_decode")
}

#[test]
fn a_session_has_the_verdicts_that_it_has_on_the_cpu() {
    on_device("program::a_session_has_the_verdicts_that_it_has_on_the_cpu", |machine, _| {
        let program = Program::new(machine);
        assert_eq!(check_session(&program, &example(), &[]), 9);
        assert_eq!(check_session(&program, &example(), &["--isolate"]), 9);
        let (calls, code) = program.replay(&example(), "cuda:0", &["--only", "*.run"]);
        assert!(calls.iter().all(|call| call[1] == "passed") && code == 0, "{code} {calls:?}");
    });
}

#[test]
fn a_call_is_shown_with_what_the_device_makes_of_it() {
    on_device("program::a_call_is_shown_with_what_the_device_makes_of_it", |machine, _| {
        let program = Program::new(machine);
        let session = example();
        let output = program.run(&["show", session.to_str().unwrap(), "3", "--device", "cuda"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("Passed"), "{text}");
    });
}

#[test]
fn the_example_records_a_call_and_each_launch_of_one_that_is_captured() {
    const NAME: &str = "program::the_example_records_a_call_and_each_launch_of_one_that_is_captured";
    on_device(NAME, |machine, _| {
        let (program, folder) = (Program::new(machine), TempDir::new().unwrap());
        let dumps = folder.path().join("dumps");
        let example = program.path.with_file_name("callbox-example-cuda");
        assert!(example.is_file(), "{} is not there: cargo build -p callbox-example-cuda", example.display());
        let mut example = program.command(&example);
        example
            .env("FLASHINFER_LOGLEVEL", "10")
            .env("FLASHINFER_LOGDEST", folder.path().join("log.txt"))
            .env("FLASHINFER_DUMP_DIR", &dumps);
        let output = example.output().unwrap();
        let launches: String =
            [1, 2].map(|launch| format!("launch {launch}: 2 groups of tensors written\n")).concat();
        assert_eq!(String::from_utf8_lossy(&output.stdout), launches, "{output:?}");
        let log = fs::read_to_string(folder.path().join("log.txt")).unwrap();
        assert!(log.contains("CUDA: driver for "), "{log}");
        let output = program.run(&["list", dumps.to_str().unwrap(), "--json"]);
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let states = [0, 1].map(|call| ["state", "flush"].map(|key| listed["calls"][call][key].clone()));
        assert_eq!(states, [["completed".into(), Value::Null], ["completed".into(), 2.into()]], "{listed}");
    });
}

#[test]
fn a_device_that_is_not_there_is_exit_code_5() {
    on_device("program::a_device_that_is_not_there_is_exit_code_5", |machine, _| {
        let output =
            Program::new(machine).run(&["replay", example().to_str().unwrap(), "--device", "cuda:99"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{text}");
        assert!(
            text.contains("device cuda:99 is not available: there is no cuda:99, the machine has"),
            "{text}"
        );
    });
}

/// The corpus of sessions that FlashInfer recorded is not part of the repository.
#[test]
fn recorded_operations_have_the_verdicts_that_they_have_on_the_cpu() {
    const NAME: &str = "program::recorded_operations_have_the_verdicts_that_they_have_on_the_cpu";
    let corpus = env::var_os("CALLBOX_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    if !corpus.join("ops").is_dir() {
        let line = format!("left out: {NAME} needs the corpus of real sessions (set CALLBOX_CORPUS)\n");
        return io::stderr().write_all(line.as_bytes()).unwrap();
    }
    on_device(NAME, |machine, _| {
        let program = Program::new(machine);
        for format in ["pt", "st"] {
            let sessions = std::fs::read_dir(corpus.join("ops").join(format)).unwrap();
            let mut compared = 0;
            for session in sessions {
                compared += check_session(&program, &session.unwrap().path().join("dumps"), &[]);
            }
            println!("{format}: {compared} calls compared");
            assert!(compared > 0, "{format}: the device has none of the functions");
        }
    });
}
