//! One worker process: started, listened to, and ended with everything that it started.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use callbox_core::planted;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Stands in what a worker prints before each of its calls: what comes behind it is this call's.
pub(crate) const MARK: u8 = 0x1e;

/// Bytes of the last that a call printed which are kept: a text that tells how it ended may stand before a long
/// backtrace.
const HEARD: usize = 256 * 1024;
/// Bytes of it that are told.
const PRINTED: usize = 8 * 1024;

/// A process's end shows at its pipes at once, if nothing that it started holds them; this is how late it may show.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running worker. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    /// The worker ends itself when this is closed: it outlives no parent.
    input: ChildStdin,
    request: Vec<u8>,
    output: Pipe<ChildStdout>,
    errors: Pipe<ChildStderr>,
    is_reaped: bool,
}

/// What happens next.
#[derive(Debug)]
pub(crate) enum Event {
    /// The worker wrote a line.
    Line(Vec<u8>),
    /// The process has ended, and all its lines were told.
    Ended,
    /// The deadline has passed.
    Late,
}

/// How a worker ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// What its last call printed, as far as it was kept.
    pub(crate) heard: String,
}

impl End {
    /// Returns the last of what was heard, as much as is told.
    pub(crate) fn printed(&self) -> String {
        let start = self.heard.len().saturating_sub(PRINTED);
        let start = (start..).find(|start| self.heard.is_char_boundary(*start)).unwrap_or_default();
        self.heard[start..].trim().to_owned()
    }
}

impl Worker {
    /// Starts a worker in a process group of its own: a terminal's Ctrl-C is the parent's, and everything that a
    /// call starts can be ended with it.
    pub(crate) fn start(mut command: Command, request: Vec<u8>) -> io::Result<Worker> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("it has no pipes"));
        };
        let (output, errors) = (Pipe::new(output), Pipe::new(errors));
        let worker = Worker { child, input, request, output, errors, is_reaped: false };
        // From here on dropping ends the process.
        ioctl_fionbio(&worker.input, true)?;
        ioctl_fionbio(&worker.output.end, true)?;
        ioctl_fionbio(&worker.errors.end, true)?;
        Ok(worker)
    }

    /// Waits for what happens next.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Event {
        loop {
            // Asked before the pipes are read: what an ended process wrote is in them by now.
            let has_ended = self.has_ended();
            self.errors.read();
            if self.errors.bytes.len() > 2 * HEARD {
                let surplus = self.errors.bytes.len() - HEARD;
                self.errors.bytes.drain(..surplus);
            }
            self.output.read();
            self.send();
            if let Some(line) = self.output.line() {
                return Event::Line(line);
            }
            if has_ended {
                return Event::Ended;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
            if left == Some(Duration::ZERO) && !planted::bug("timeout_ignored") {
                return Event::Late;
            }
            self.sleep(left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY)));
        }
    }

    /// Ends the process and everything in its group, and tells how it ended.
    pub(crate) fn end(mut self) -> io::Result<End> {
        let status = self.kill()?;
        self.errors.read();
        let bytes = &self.errors.bytes;
        let start = bytes.iter().rposition(|byte| *byte == MARK).map_or(0, |mark| mark + 1);
        Ok(End { status, heard: String::from_utf8_lossy(&bytes[start..]).into_owned() })
    }

    /// The group is killed before its leader is reaped: until then no other process can get its number.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        let status = self.child.wait()?;
        self.is_reaped = true;
        Ok(status)
    }

    /// Tells whether the process has ended, and leaves it to be reaped.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(Some(_)) | Err(_))
    }

    /// Sends what the pipe takes of the request. A worker that does not read it has ended, which shows elsewhere.
    fn send(&mut self) {
        if self.request.is_empty() {
            return;
        }
        match self.input.write(&self.request) {
            Ok(written) => drop(self.request.drain(..written)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.request.clear(),
        }
    }

    /// Sleeps until a pipe has something to say, at most for this long.
    fn sleep(&self, longest: Duration) {
        let mut pipes = Vec::with_capacity(3);
        if self.output.is_open {
            pipes.push(PollFd::new(&self.output.end, PollFlags::IN));
        }
        if self.errors.is_open {
            pipes.push(PollFd::new(&self.errors.end, PollFlags::IN));
        }
        if !self.request.is_empty() {
            pipes.push(PollFd::new(&self.input, PollFlags::OUT));
        }
        // The pipes are closed an instant before the process has ended.
        let longest = if self.output.is_open { longest } else { longest.min(Duration::from_millis(2)) };
        let longest = Timespec { tv_sec: 0, tv_nsec: longest.subsec_nanos().into() };
        // An interrupted sleep is a short one.
        poll(&mut pipes, Some(&longest)).ok();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.is_reaped {
            // There is nobody to tell.
            self.kill().ok();
        }
    }
}

/// Our end of a pipe that a worker writes to, and what was read from it.
#[derive(Debug)]
struct Pipe<E> {
    end: E,
    bytes: Vec<u8>,
    is_open: bool,
}

impl<E: Read> Pipe<E> {
    fn new(end: E) -> Pipe<E> {
        Pipe { end, bytes: Vec::new(), is_open: true }
    }

    /// Reads what is there, at most a few pipes full: a worker that never stops writing must not keep its parent
    /// from looking at the time.
    fn read(&mut self) {
        const READS: usize = 16;
        let mut buffer = [0; 16 * 1024];
        for _ in 0..READS {
            match self.end.read(&mut buffer) {
                Ok(0) => self.is_open = false,
                Ok(count) => {
                    self.bytes.extend_from_slice(&buffer[..count]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.is_open = false,
            }
            return;
        }
    }

    /// Takes a whole line.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
        Some(self.bytes.drain(..=end).collect())
    }
}

/// Returns the moment that lies so far from now.
pub(crate) fn deadline_in(limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| now().checked_add(limit))
}

#[expect(clippy::disallowed_methods, reason = "how long a process runs is measured here")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Worker {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Worker::start(command, b"request\n".to_vec()).unwrap()
    }

    fn is_running(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie that nobody has reaped yet is not running.
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[test]
    fn a_process_that_has_ended_is_noticed_though_another_holds_its_pipes() {
        let mut worker = shell("read line; echo $line; setsid sleep 30 & echo $!; exit 7");
        let deadline = deadline_in(Some(Duration::from_secs(20)));
        assert!(matches!(worker.next(deadline), Event::Line(line) if line == b"request\n"));
        let Event::Line(pid) = worker.next(deadline) else { panic!("no line") };
        assert!(matches!(worker.next(deadline), Event::Ended));
        assert_eq!(worker.end().unwrap().status.code(), Some(7));
        // It left the group: it is the call's own wish that it goes on.
        let pid = String::from_utf8(pid).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn what_a_process_started_ends_with_it() {
        let mut worker = shell("sleep 5 & echo $!; wait");
        let Event::Line(pid) = worker.next(None) else { panic!("no line") };
        let pid = String::from_utf8(pid).unwrap().trim().to_owned();
        assert!(is_running(&pid));
        assert!(matches!(worker.next(deadline_in(Some(Duration::from_millis(1)))), Event::Late));
        worker.end().unwrap();
        let deadline = deadline_in(Some(Duration::from_secs(10)));
        while is_running(&pid) {
            assert!(deadline > deadline_in(Some(Duration::ZERO)), "{pid} runs on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn of_what_was_printed_the_last_of_the_last_call_is_kept() {
        let mut worker = shell("printf 'before\\036' >&2; yes | head -c 100000 >&2; echo last >&2");
        assert!(matches!(worker.next(None), Event::Ended));
        let printed = worker.end().unwrap().printed();
        assert!(printed.len() <= PRINTED && printed.ends_with("y\nlast"), "{printed}");
        let mut worker = shell("printf 'before\\036 behind \\n' >&2");
        assert!(matches!(worker.next(None), Event::Ended));
        assert_eq!(worker.end().unwrap().printed(), "behind");
    }
}
