//! Forking while a function is recorded for the first time.

use std::process::Command;
use std::thread;
use std::time::Duration;

/// Many times what it takes.
const PATIENCE: usize = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// The child has no thread that would end what the parent's had begun: it must not wait for one.
#[test]
fn p18_a_child_that_is_forked_while_a_function_is_named_for_the_first_time_goes_on() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_first_calls")).spawn().unwrap();
    for _ in 0..PATIENCE {
        if let Some(status) = program.try_wait().unwrap() {
            return assert!(status.success(), "{status}");
        }
        thread::sleep(PAUSE);
    }
    program.kill().unwrap();
    panic!("a child waits for a thread that it does not have");
}
