//! `callbox replay`.

mod details;
mod report;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::thread;

use callbox_core::DumpedCall;
use callbox_replay::{Counts, ReplayOptions, Replayed, SequenceOptions, replay_sequence};

use crate::args::ReplayArgs;
use crate::exit::{Exit, Failure};
use crate::progress;
use crate::session;
use crate::style;

pub(crate) use details::details;

/// Replays a session and reports on each call.
pub(crate) fn run(arguments: &ReplayArgs, program: &str) -> Result<Exit, Failure> {
    let dir = arguments.dir();
    let executors = session::executors(arguments.device)?;
    let opened = session::open(dir, &arguments.read)?;
    let filter = session::filter(&arguments.select);
    let select = |call: &DumpedCall| opened.is_wanted(call) && filter.allows(&call.function);
    let selected = opened.session.calls.iter().filter(|call| select(call)).count();
    let processors = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let options = SequenceOptions {
        replay: ReplayOptions {
            comparison: session::comparison(&arguments.compare),
            ..ReplayOptions::default()
        },
        jobs: arguments.jobs.unwrap_or(processors),
        keep_values: false,
    };

    let progress = progress::bar(selected);
    let mut report = report::open(arguments, BufWriter::new(anstream::stdout().lock()));
    let mut counts = Counts::default();
    let mut written = Ok(());
    report.findings(&opened.session.findings)?;
    replay_sequence(
        &opened.source,
        &opened.session,
        &*executors,
        &select,
        &options,
        &mut |number, replayed| {
            counts.add(&replayed.verdict);
            progress.inc(1);
            if written.is_ok() {
                let number = opened.number(number - 1);
                written = progress.suspend(|| report.call(number, &replayed));
            }
        },
    );
    progress.finish_and_clear();
    let exit = Exit::from_counts(&counts, arguments.strict);
    // A reader that has gone away, as `head` does, has not changed what the replay found.
    let written = written.and_then(|()| report.finish(&counts, exit));
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(exit),
        written => written?,
    }
    if selected == 0 {
        style::tell(&opened.why_nothing());
    }
    if counts.bad() > 0 && !arguments.json && io::stderr().is_terminal() {
        let dir = style::shell(&dir.to_string_lossy());
        style::tell(&format!(
            "FLASHINFER_LOGLEVEL=1 tells more of each; {program} show {dir} NUMBER, of one"
        ));
    }
    Ok(exit)
}

/// Where the verdicts go.
trait Report {
    /// Tells what is wrong with the session's files.
    fn findings(&mut self, findings: &[callbox_core::Finding]) -> io::Result<()>;
    /// Tells the verdict on one call.
    fn call(&mut self, number: usize, replayed: &Replayed) -> io::Result<()>;
    /// Closes the report.
    fn finish(&mut self, counts: &Counts, exit: Exit) -> io::Result<()>;
}

type Out = BufWriter<anstream::AutoStream<io::StdoutLock<'static>>>;

/// Flushes where somebody watches: a line should appear when its call is done.
fn flush(out: &mut Out) -> io::Result<()> {
    if io::stdout().is_terminal() { out.flush() } else { Ok(()) }
}
