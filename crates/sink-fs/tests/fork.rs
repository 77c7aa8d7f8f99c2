//! A process that forks while its threads record. Forking is the whole process's matter, so this is a binary of its
//! own with one test.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]
#![expect(unsafe_code, reason = "forking a process of several threads is unsafe")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use callbox_core::{DumpSink, Line, SinkError, SlotName};
use callbox_sink_fs::{Durability, FsSink, Hashing, SinkOptions};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use self::unused_format::Unused;

mod unused_format;

const THREADS: usize = 4;
const CHILDREN: usize = 30;
/// A child records within milliseconds; one that takes so many looks hangs.
const LOOKS: usize = 5_000;
const PAUSE: Duration = Duration::from_millis(2);

// SAFETY: the C library has these, of these types.
unsafe extern "C" {
    /// Gives 0 in the child, the child's id in the parent.
    unsafe fn fork() -> i32;
    /// Ends the process at once: nothing of the parent's is cleaned up by the child.
    safe fn _exit(status: i32) -> !;
}

/// Records a call and takes its folder away again.
fn record(sink: &FsSink, who: &str) -> Result<(), SinkError> {
    let name = SlotName {
        timestamp: "20260101_000000_000".to_owned(),
        process_id: 1,
        function: who.to_owned(),
        call_sequence: 1,
    };
    let line = Line::new(format!("{who}\n").into_bytes());
    let mut slot = sink.open(&name)?;
    slot.append(&line)?;
    sink.log(&line)?;
    slot.discard()
}

/// Forks a child that records, and tells whether it came to its end.
fn child_records(sink: &FsSink, number: usize) -> bool {
    // SAFETY: of what other threads may have left half done, the child uses the C library's allocator, which the
    // library makes whole in `fork`, and the sink, whose readiness for this is what is tested.
    let id = unsafe { fork() };
    if id == 0 {
        let recorded = record(sink, &format!("child{number}"));
        _exit(i32::from(recorded.is_err()));
    }
    let child = Pid::from_raw(id).unwrap();
    for _ in 0..LOOKS {
        if let Some((_, status)) = waitpid(Some(child), WaitOptions::NOHANG).unwrap() {
            return status.exit_status() == Some(0);
        }
        thread::sleep(PAUSE);
    }
    kill_process(child, Signal::KILL).unwrap();
    waitpid(Some(child), WaitOptions::empty()).unwrap();
    false
}

#[test]
fn children_forked_while_four_threads_record_go_on_recording() {
    let folder = tempfile::tempdir().unwrap();
    let sink = FsSink::new(SinkOptions {
        root: folder.path().join("dumps"),
        format: Arc::new(Unused),
        fallback: None,
        // With syncs the parent's threads are within the sink nearly always.
        durability: Durability::System,
        hashing: Hashing::Xxh3,
    });
    let is_over = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        for thread in 0..THREADS {
            let (sink, is_over) = (&sink, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    record(sink, &format!("thread{thread}")).unwrap();
                }
            });
        }
        // The first that hangs is enough.
        let ended = (0..CHILDREN).take_while(|&number| child_records(&sink, number)).count();
        is_over.store(true, Ordering::Relaxed);
        ended
    });
    assert_eq!(ended, CHILDREN, "this child does not come to its end");
    let index = fs::read_to_string(folder.path().join("dumps/session.jsonl")).unwrap();
    let lines = index.lines().filter(|line| line.starts_with("child"));
    assert!(lines.eq((0..CHILDREN).map(|number| format!("child{number}"))), "one whole line a child");
}
