//! `callbox replay`.

mod details;
mod isolation;
mod journal;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, IsTerminal};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use callbox_core::{Device, DumpedCall};
use callbox_isolate::{Isolation, continue_chains, replay_chain_isolated};
use callbox_replay::{
    CallReport, Chain, Counts, Death, ExecutorFactory, ReplayOptions, Runner, chains, joined, replay_chain,
    run_chains,
};

use crate::answer;
use crate::args::ReplayArgs;
use crate::command::Executors;
use crate::describe;
use crate::exit::{Exit, Failure};
use crate::progress;
use crate::session::{self, Opened};
use crate::style;

pub(crate) use details::details;
pub(crate) use isolation::{limits, work, worker};
use journal::{Interruption, Kept};

/// Replays a session and reports on each call.
pub(crate) fn run(
    arguments: &ReplayArgs,
    executors: &Executors<'_>,
    program: &'static str,
) -> Result<Exit, Failure> {
    let dir = arguments.dir();
    let executors = session::executors(arguments.device, executors)?;
    let opened = session::open(dir, &arguments.read)?;
    let filter = session::filter(&arguments.select);
    let select = |call: &DumpedCall| opened.is_wanted(call) && filter.allows(&call.function);
    let selected = opened.session.calls.iter().filter(|call| select(call)).count();
    let (kept, earlier) = Kept::open(arguments, &opened.session, selected)?;
    let kept = Arc::new(Mutex::new(kept));
    let progress = progress::bar(selected);
    let interruption = Interruption::watch(&kept, &progress, selected, program)?;

    let mut report = report::open(arguments, BufWriter::new(anstream::stdout().lock()));
    let mut counts = Counts::default();
    let mut written = Ok(());
    report.findings(&opened.session.findings)?;
    let chains = chains(&opened.session.calls, &select);
    let mut on_end = |place, report: &CallReport| {
        kept.lock().unwrap_or_else(PoisonError::into_inner).append(place, report);
    };
    replay(arguments, &*executors, &opened, chains, earlier, &mut on_end, &mut |place, call_report| {
        counts.add(&call_report.verdict);
        progress.inc(1);
        if written.is_ok() {
            written = progress.suspend(|| report.call(opened.number(place), &call_report));
        }
    })?;
    progress.finish_and_clear();
    let exit = Exit::from_counts(&counts, arguments.strict);
    let written = written.and_then(|()| report.finish(&counts, exit));
    drop(interruption);
    if !answer::was_read(written)? {
        return Ok(exit);
    }
    // A report that nobody could read can be had again from the journal.
    kept.lock().unwrap_or_else(PoisonError::into_inner).finish();
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

/// Runs the chains, each in this process or in another, save for the calls that have a report already.
fn replay(
    arguments: &ReplayArgs,
    executors: &ExecutorFactory<'static>,
    opened: &Opened,
    chains: Vec<Chain>,
    earlier: BTreeMap<usize, CallReport>,
    on_end: &mut dyn FnMut(usize, &CallReport),
    on_result: &mut dyn FnMut(usize, CallReport),
) -> Result<(), Failure> {
    let Opened { source, session, dir, .. } = opened;
    let comparison = session::comparison(&arguments.compare);
    let options = &ReplayOptions { comparison, ..ReplayOptions::default() };
    let command = isolation::worker(dir, arguments.device, &arguments.read)?;
    let limits = isolation::limits(&arguments.isolate.limits);
    let isolation = &Isolation { command: &command, limits };
    let death = |(place, report): (&usize, &CallReport)| Some((*place, report.verdict.death()?.clone()));
    let deaths: &BTreeMap<usize, Death> = &earlier.iter().filter_map(death).collect();

    let is_isolated = |chain: &Chain| isolation::is_isolated(chain, session, arguments);
    // Asked of whole chains: the answer has to be the one that it was before an interruption.
    let isolated: BTreeSet<usize> =
        chains.iter().filter(|chain| is_isolated(chain)).map(first_place).collect();
    let is_isolated = |chain: &Chain| isolated.contains(&first_place(chain));
    let mut chains = continue_chains(chains, &earlier);
    let jobs = arguments.jobs.unwrap_or_else(|| match arguments.device {
        Device::Cpu => thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        // It is one, and calls at the same time could be taken for each other where it fails for good.
        Device::Cuda(_) => NonZeroUsize::MIN,
    });
    if jobs == NonZeroUsize::MIN {
        // One worker goes by the session, not object by object: results come one by one, and nothing waits.
        let (apart, here): (Vec<_>, Vec<_>) = chains.into_iter().partition(is_isolated);
        chains = [joined(here)].into_iter().filter(|chain| !chain.steps.is_empty()).chain(apart).collect();
    }
    let runners = || -> Box<Runner<'_, CallReport>> {
        let mut executor = None;
        Box::new(move |chain, emit| {
            if is_isolated(chain) {
                return replay_chain_isolated(source, session, chain, isolation, options, deaths, emit);
            }
            // Made when it is wanted: it may hold a device.
            let executor = executor.get_or_insert_with(executors);
            replay_chain(source, session, chain, &mut **executor, options, &mut |place, mut replayed| {
                replayed.forget_values();
                emit(place, CallReport::new(replayed, &describe::result))
            });
        })
    };
    run_chains(&chains, jobs, &runners, earlier, on_end, on_result);
    Ok(())
}

/// Returns what a chain is known by, also when its end is cut off.
fn first_place(chain: &Chain) -> usize {
    chain.steps.first().map_or(usize::MAX, |step| step.place)
}

/// Where the verdicts go.
trait Report {
    /// Tells what is wrong with the session's files.
    fn findings(&mut self, findings: &[callbox_core::Finding]) -> io::Result<()>;
    /// Tells the verdict on one call.
    fn call(&mut self, number: usize, report: &CallReport) -> io::Result<()>;
    /// Closes the report.
    fn finish(&mut self, counts: &Counts, exit: Exit) -> io::Result<()>;
}

type Out = BufWriter<anstream::AutoStream<io::StdoutLock<'static>>>;
