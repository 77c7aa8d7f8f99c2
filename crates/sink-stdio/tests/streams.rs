//! Standard output and standard error, exchanged for sockets that keep each write apart. The streams are the whole
//! process's, so this is a binary of its own with one test.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use callbox_core::{Event, FunctionName, LiveArguments, LogSink, Value};
use callbox_sink_stdio::{LogDestination, StdioSink};
use callbox_testkit::conformance;
use time::OffsetDateTime;

/// Puts another file in a stream's place for as long as it lives.
struct Exchanged {
    exchange: fn(BorrowedFd<'_>) -> rustix::io::Result<()>,
    original: OwnedFd,
}

impl Exchanged {
    fn new(
        stream: BorrowedFd<'_>,
        exchange: fn(BorrowedFd<'_>) -> rustix::io::Result<()>,
        file: impl AsFd,
    ) -> Exchanged {
        io::stdout().flush().unwrap();
        let original = stream.try_clone_to_owned().unwrap();
        exchange(file.as_fd()).unwrap();
        Exchanged { exchange, original }
    }
}

impl Drop for Exchanged {
    fn drop(&mut self) {
        (self.exchange)(self.original.as_fd()).unwrap();
    }
}

fn check(
    destination: LogDestination,
    stream: BorrowedFd<'_>,
    exchange: fn(BorrowedFd<'_>) -> rustix::io::Result<()>,
) {
    let sink = StdioSink::open(&destination).unwrap();
    let function = FunctionName::new("app", "rmsnorm");
    let arguments =
        LiveArguments { positional: (0..500).map(Value::int).collect(), ..LiveArguments::default() };
    let at = OffsetDateTime::UNIX_EPOCH;
    let block = Event::CallStarted { at, function: &function, arguments: &arguments, statistics: false };

    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let exchanged = Exchanged::new(stream, exchange, &ours);
    let emitted = sink.emit(&block).and_then(|()| sink.emit(&Event::Notice { text: "a line" }));
    drop(exchanged);
    emitted.unwrap();
    let mut datagram = vec![0; 1 << 20];
    let mut received = || {
        let len = theirs.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..len].to_vec()).unwrap()
    };
    let text = received();
    assert!(
        text.starts_with("====") && text.ends_with("  arg[499]:\n    499\n"),
        "the block is one write: {text}"
    );
    assert_eq!(received(), "a line\n");

    // Were the log to ask for a lock, the text would only come when this thread lets go.
    theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let exchanged = Exchanged::new(stream, exchange, &ours);
    let mut text = [0; 64];
    let len = thread::scope(|scope| {
        let _held = (io::stdout().lock(), io::stderr().lock());
        scope.spawn(|| sink.emit(&Event::Notice { text: "past the locks" }));
        theirs.recv(&mut text)
    });
    drop(exchanged);
    assert_eq!(&text[..len.unwrap()], b"past the locks\n");

    drop(theirs);
    let exchanged = Exchanged::new(stream, exchange, &ours);
    conformance::broken_log_sink(&sink);
    drop(exchanged);
}

#[test]
fn an_event_is_one_write_to_a_stream_past_its_locks_and_a_closed_stream_is_an_error() {
    let stdout = |file: BorrowedFd<'_>| rustix::stdio::dup2_stdout(file);
    check(LogDestination::Stdout, io::stdout().as_fd(), stdout);
    let stderr = |file: BorrowedFd<'_>| rustix::stdio::dup2_stderr(file);
    check(LogDestination::Stderr, io::stderr().as_fd(), stderr);
}
