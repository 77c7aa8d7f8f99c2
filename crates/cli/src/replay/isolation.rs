//! Which calls run in worker processes, and how these are started: this program again, with a hidden command.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use callbox_core::{Device, Session};
use callbox_isolate::{Limits, Parts, serve};
use callbox_replay::Chain;

use crate::args::{LimitArgs, ReadArgs, ReplayArgs, WORKER, WorkerArgs};
use crate::command::Executors;
use crate::describe;
use crate::exit::{Exit, Failure};
use crate::session;

/// Tells whether a chain runs in a process of its own: with `--isolate` each does, otherwise those in which a
/// call is that may have ended its process before. What a replay did not come to that has stopped may be what it died
/// of, so that runs apart as well when it is resumed.
pub(super) fn is_isolated(chain: &Chain, session: &Session, arguments: &ReplayArgs) -> bool {
    let (resumes, arguments) = (arguments.journal.resume, &arguments.isolate);
    let is_suspected = |place: usize| session.calls[place].state.is_suspected_crash();
    !arguments.no_isolate
        && (resumes || arguments.isolates_all() || chain.steps.iter().any(|step| is_suspected(step.place)))
}

/// What each process may take.
pub(crate) fn limits(arguments: &LimitArgs) -> Limits {
    let time = Some(arguments.timeout()).filter(|time| !time.is_zero());
    Limits { time, memory: arguments.memory }
}

/// Makes the command of a worker on a session's folder.
pub(crate) fn worker(
    dir: &Path,
    device: Device,
    read: &ReadArgs,
) -> Result<impl Fn() -> Command + Sync + use<>, Failure> {
    let program = this_program()?;
    let mut options = vec![OsString::from(WORKER), format!("--device={device}").into()];
    if read.mmap {
        options.push("--mmap".into());
    }
    options.extend(["--".into(), dir.into()]);
    Ok(move || {
        let mut command = Command::new(&program);
        command.args(&options);
        command
    })
}

/// Linux opens the running program itself here, also when its file was replaced meanwhile.
fn this_program() -> Result<OsString, Failure> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(running.into());
    }
    let program = env::current_exe().map_err(|error| {
        Failure::new(Exit::Unreadable, format!("this program cannot find itself to run calls: {error}"))
    })?;
    Ok(program.into())
}

/// Is a worker: runs what the replay asks for that started this process.
pub(crate) fn work(arguments: &WorkerArgs, executors: &Executors<'_>) -> Result<Exit, Failure> {
    let parts = || -> Result<Parts, String> {
        let executors = session::executors(arguments.device, executors).map_err(|f| f.error.to_string())?;
        let source = session::source(&arguments.dir, &arguments.read);
        let source = Box::new(source.map_err(|error| callbox_core::error::chain(&error))?);
        Ok(Parts { source, executor: executors() })
    };
    match serve(&parts, &describe::result) {
        Ok(()) => Ok(Exit::Good),
        Err(error) => Err(Failure::new(Exit::Usage, format!("{WORKER}: {error}"))),
    }
}
