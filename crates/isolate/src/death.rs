//! Reading from a process's end how it ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use callbox_replay::Death;
use rustix::process::Signal;

/// What the allocators of Rust and C++ say before they abort.
const OUT_OF_MEMORY: [&str; 2] = ["memory allocation of ", "std::bad_alloc"];

const NAMES: [(Signal, &str); 14] = [
    (Signal::ABORT, "SIGABRT"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::BUS, "SIGBUS"),
    (Signal::FPE, "SIGFPE"),
    (Signal::HUP, "SIGHUP"),
    (Signal::ILL, "SIGILL"),
    (Signal::INT, "SIGINT"),
    (Signal::PIPE, "SIGPIPE"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::SYS, "SIGSYS"),
    (Signal::TERM, "SIGTERM"),
    (Signal::TRAP, "SIGTRAP"),
    (Signal::XCPU, "SIGXCPU"),
];

/// Says how a process died that was not killed by us, from its status and the last that it printed.
pub(crate) fn of(status: ExitStatus, printed: &str) -> Death {
    let Some(number) = status.signal() else {
        return Death::Exited(status.code().unwrap_or_default());
    };
    if number == Signal::KILL.as_raw() {
        return Death::Killed;
    }
    if number == Signal::ABORT.as_raw() && OUT_OF_MEMORY.iter().any(|text| printed.contains(text)) {
        return Death::OutOfMemory;
    }
    let name = NAMES.iter().find(|(signal, _)| signal.as_raw() == number);
    Death::Crashed(name.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_by_its_signal_its_code_and_what_was_printed() {
        for (raw, printed, text) in [
            (11, "", "crashed (SIGSEGV)"),
            (6, "assertion failed", "crashed (SIGABRT)"),
            (6, "memory allocation of 8 bytes failed", "out of memory"),
            (6, "terminate called after throwing an instance of 'std::bad_alloc'", "out of memory"),
            (11, "memory allocation of 8 bytes failed", "crashed (SIGSEGV)"),
            (9, "", "killed from outside (SIGKILL), probably out of memory"),
            (64, "", "crashed (signal 64)"),
            (3 << 8, "", "exited with code 3 instead of returning"),
        ] {
            assert_eq!(of(ExitStatus::from_raw(raw), printed).to_string(), text);
        }
    }
}
