//! What is kept of a replay for the one that continues it.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use callbox_core::Session;
use callbox_isolate::{Binding, Journal, JournalError, identity};
use callbox_replay::CallReport;
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;

use crate::args::ReplayArgs;
use crate::exit::{Exit, Failure};
use crate::{style, units};

/// The reports of an earlier replay by their places, and the journal that goes on.
pub(super) struct Kept {
    journal: Option<Journal>,
    /// The journal is ours: it goes when the replay has ended.
    is_removed: bool,
    /// Reports in the journal.
    count: usize,
}

impl Kept {
    /// Opens the journal that the arguments ask for, with what is in it.
    ///
    /// Without `--resume` and `--journal` a replay goes on without a journal where it cannot have one.
    pub(super) fn open(
        arguments: &ReplayArgs,
        session: &Session,
        selected: usize,
    ) -> Result<(Kept, BTreeMap<usize, CallReport>), Failure> {
        let none = || Kept { journal: None, is_removed: false, count: 0 };
        let is_wanted = arguments.journal.resume || arguments.journal.journal.is_some();
        // One call is not interrupted between two.
        if selected < 2 && !is_wanted {
            return Ok((none(), BTreeMap::new()));
        }
        match Kept::open_wanted(arguments, session) {
            Ok((kept, earlier)) => {
                if arguments.journal.resume {
                    tell_earlier(kept.count, selected);
                }
                Ok((kept, earlier))
            }
            Err(failure) if is_wanted => Err(failure),
            Err(_) => Ok((none(), BTreeMap::new())),
        }
    }

    fn open_wanted(
        arguments: &ReplayArgs,
        session: &Session,
    ) -> Result<(Kept, BTreeMap<usize, CallReport>), Failure> {
        // A folder without a name that lasts goes by the one that it was given.
        let dir = arguments.dir().canonicalize().unwrap_or_else(|_| arguments.dir().to_owned());
        let path = match &arguments.journal.journal {
            Some(path) => path.clone(),
            None => default_path(&dir)?,
        };
        let binding = binding(arguments, &dir, session);
        let is_left = arguments.journal.journal.is_none() && path.exists();
        let (journal, earlier) = match arguments.journal.resume {
            true => Journal::resume(&path, &binding, session)?,
            false => (Journal::create(&path, &binding)?, BTreeMap::new()),
        };
        if is_left && !arguments.journal.resume && !arguments.isolate.isolates_all() {
            style::tell(
                "note: the last replay of this session did not end; if a call ended it, --isolate names that \
                 call and goes on with the next",
            );
        }
        let is_removed = arguments.journal.journal.is_none();
        Ok((Kept { journal: Some(journal), is_removed, count: earlier.len() }, earlier))
    }

    /// Keeps a report. A journal that cannot be written any more is told once, and ends there.
    pub(super) fn append(&mut self, place: usize, report: &CallReport) {
        let Some(journal) = &mut self.journal else { return };
        if report.is_untried {
            return;
        }
        match journal.append(place, report) {
            Ok(()) => self.count += 1,
            Err(error) => {
                let count = units::counted(self.count, "verdict");
                style::tell(&style::clean(&format!("note: {error}; it ends after {count}")));
                self.journal = None;
            }
        }
    }

    /// Removes the journal of a replay that has ended, if nobody asked for it.
    pub(super) fn finish(&mut self) {
        if let Some(journal) = self.journal.take().filter(|_| self.is_removed) {
            // What stays is overwritten by the next replay.
            fs::remove_file(journal.path()).ok();
        }
    }
}

fn tell_earlier(count: usize, selected: usize) {
    if count == 0 {
        return style::tell("note: no verdict is in the journal: beginning with the first call");
    }
    let (count, selected) = (units::count(count), units::counted(selected, "call"));
    style::tell(&format!("note: the verdicts on {count} of {selected} are from the journal"));
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Failure {
        let exit = match &error {
            JournalError::Foreign(_) | JournalError::OtherReplay { .. } => Exit::Usage,
            _ => Exit::Unreadable,
        };
        Failure { exit, error: error.into() }
    }
}

/// Names everything that the verdicts depend on.
fn binding(arguments: &ReplayArgs, dir: &Path, session: &Session) -> Binding {
    let (select, compare, isolate) = (&arguments.select, &arguments.compare, &arguments.isolate);
    let number = |value: Option<f64>| value.map(|value| value.to_string());
    let flag = |is_set: bool| is_set.then(String::new);
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let seconds = || isolate.limits.timeout().as_secs_f64().to_string();
    let gibibytes = |bytes: u64| (bytes as f64 / (1u64 << 30) as f64).to_string();
    let options = [
        ("--device", Some(arguments.device.to_string())),
        ("--only", text(&select.only)),
        ("--skip", text(&select.skip)),
        ("--rtol", number(compare.rtol)),
        ("--atol", number(compare.atol)),
        ("--parity", flag(compare.parity)),
        ("--nan-differs", flag(compare.nan_differs)),
        ("--isolate", flag(isolate.isolates_all())),
        ("--no-isolate", flag(isolate.no_isolate)),
        ("--timeout", (!isolate.no_isolate).then(seconds)),
        ("--memory", isolate.limits.memory.map(gibibytes)),
    ];
    let set = options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Binding {
        session: dir.to_string_lossy().into_owned(),
        identity: identity(session),
        options: set.collect(),
    }
}

/// Returns the place for a session's journal outside of the session, which may be evidence or read-only.
fn default_path(dir: &Path) -> Result<PathBuf, Failure> {
    let folder = state_folder()
        .ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "there is no HOME to keep a journal in: name one with --journal".to_owned(),
            )
        })?
        .join("callbox/replays");
    let failed = |source: io::Error| JournalError::Io { path: folder.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
    let hash = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(folder.join(format!("{name}.jsonl")))
}

/// As the XDG base directory specification has it: a relative path counts for nothing.
#[expect(clippy::disallowed_methods, reason = "a command reads its environment")]
fn state_folder() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))
}

/// Tells a user who interrupts a replay how it goes on.
pub(super) struct Interruption {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Interruption {
    /// Listens for Ctrl-C and `kill`. The process then ends as it would have, with the journal whole and a word
    /// about it; its workers end themselves.
    pub(super) fn watch(
        kept: &Arc<Mutex<Kept>>,
        bar: &ProgressBar,
        selected: usize,
        program: &'static str,
    ) -> io::Result<Interruption> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let (kept, bar) = (Arc::clone(kept), bar.clone());
        let wait = move || {
            let Some(signal) = signals.forever().next() else { return };
            // Nobody writes to the journal from here on.
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            // Its own thread would draw it once more.
            bar.disable_steady_tick();
            bar.finish_and_clear();
            style::tell(&last_words(&kept, selected, program));
            // Where it fails the process goes on, and the next signal is heard as ever.
            emulate_default_handler(signal).ok();
        };
        let thread = thread::Builder::new().name("interruption".to_owned()).spawn(wait)?;
        Ok(Interruption { handle, thread: Some(thread) })
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing to say.
            thread.join().ok();
        }
    }
}

fn last_words(kept: &Kept, selected: usize, program: &str) -> String {
    if kept.journal.is_none() {
        return format!("{program}: interrupted; there is no journal to go on from");
    }
    let arguments = env::args_os().skip(1).map(|argument| quoted(&argument.to_string_lossy()));
    let mut arguments: Vec<_> = arguments.collect();
    if !arguments.iter().any(|argument| argument == "--resume") {
        arguments.push("--resume".to_owned());
    }
    let (count, selected) = (units::count(kept.count), units::counted(selected, "call"));
    let command = arguments.join(" ");
    format!("{program}: interrupted after {count} of {selected}; go on with: {program} {command}")
}

/// Quotes an argument for a shell; unlike a path, an option keeps its dashes.
fn quoted(argument: &str) -> String {
    let option = argument.trim_start_matches('-');
    match argument.len() - option.len() {
        0 => style::shell(argument),
        _ if option.is_empty() => argument.to_owned(),
        dashes => format!("{}{}", &argument[..dashes], style::shell(option)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_can_be_pasted_into_a_shell_again() {
        for (argument, text) in [
            ("--isolate", "--isolate"),
            ("--", "--"),
            ("--only=*run*", "--'only=*run*'"),
            ("a b", "'a b'"),
            ("./dumps", "./dumps"),
        ] {
            assert_eq!(quoted(argument), text);
        }
    }
}
