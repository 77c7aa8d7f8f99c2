//! Signals mean what they meant, and nothing of recording stays behind.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const UNHARMED: &str = env!("CARGO_BIN_EXE_unharmed");
const SIGTERM: i32 = 15;
/// How long a process may take to end when it is asked to.
const SOON: Duration = Duration::from_millis(100);

fn unharmed(folder: &Path, level: &str) -> Command {
    let mut command = Command::new(UNHARMED);
    command
        .env("FLASHINFER_LOGLEVEL", level)
        .env("FLASHINFER_LOGDEST", folder.join("calls.log"))
        .env("FLASHINFER_DUMP_DIR", folder.join("dumps"));
    command
}

/// Asks a process that is in a recorded call to end; tells how it did, and how long that took.
#[expect(clippy::disallowed_methods, reason = "waiting is measured")]
fn asked_to_end(handler: &[&str]) -> (ExitStatus, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = unharmed(folder.path(), "10")
        .arg("busy")
        .args(handler)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "in the call\n");
    let start = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    let session = callbox::open_session(&folder.path().join("dumps")).unwrap();
    let calls = callbox_core::DumpSource::calls(&session).unwrap().calls;
    assert!(calls.len() == 1 && calls[0].state.is_suspected_crash());
    (status, start.elapsed())
}

#[track_caller]
fn check(handler: &[&str], is_right: impl Fn(ExitStatus) -> bool) {
    // A machine that is busy with something else may be late now and then; a handler that waits for the call never ends.
    let times = [(); 5].map(|()| {
        let (status, time) = asked_to_end(handler);
        assert!(is_right(status), "{status}");
        time
    });
    println!("{handler:?}: {times:?}");
    assert!(times.iter().min() <= Some(&SOON), "{times:?}");
}

#[test]
fn u24_a_process_in_a_recorded_call_dies_at_once_when_it_is_asked_to() {
    check(&[], |status| status.signal() == Some(SIGTERM));
}

#[test]
fn u25_the_application_s_own_handler_stays_whenever_it_was_set() {
    for when in ["before", "after"] {
        check(&[when], |status| status.code() == Some(SIGTERM));
    }
}

#[test]
fn a_limit_on_the_size_of_files_does_not_end_an_application_that_keeps_to_it() {
    for blocks in ["0", "1", "3", "20"] {
        let folder = tempfile::tempdir().unwrap();
        let mut limited = Command::new("sh");
        limited
            .args(["-c", "ulimit -f $0; exec \"$1\" > /dev/null", blocks, UNHARMED])
            .env("FLASHINFER_LOGLEVEL", "10")
            .env("FLASHINFER_LOGDEST", folder.path().join("calls.log"))
            .env("FLASHINFER_DUMP_DIR", folder.path().join("dumps"));
        let output = limited.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{blocks} blocks: {}, {errors}", output.status);
        assert!(blocks == "20" || errors.contains(" failed "), "{blocks} blocks: it is told: {errors}");
    }
}

#[test]
fn p11_no_signal_is_handled_no_thread_is_left_and_nothing_panics_at_any_level() {
    for level in ["0", "1", "3", "5", "10"] {
        let folder = tempfile::tempdir().unwrap();
        let output = unharmed(folder.path(), level).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with("signals as before\nthreads 1\npanics 0\n"), "level {level}: {text}");
    }
}
