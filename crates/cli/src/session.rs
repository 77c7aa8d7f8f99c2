//! The composition root: which formats, which source, which executors.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{Device, DumpedCall, Filter, Session, SourceError, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_replay::{CompareOptions, ExecutorFactory};
use callbox_sink_fs::{FsSource, METADATA_FILE, ReadMode, ReadOptions, SESSION_FILE};

use crate::args::{CompareArgs, ReadArgs, SelectArgs, TensorFormat};
use crate::command::Executors;
use crate::exit::{Exit, Failure};
use crate::style;

/// A session, opened and listed.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) source: FsSource,
    /// The folder that the source was opened on.
    pub(crate) dir: PathBuf,
    pub(crate) session: Session,
    /// The one call that was asked for, by its folder.
    pub(crate) folder: Option<String>,
}

impl Opened {
    /// Returns the number that a call goes by: its place in the session, or 1 if it was asked for alone.
    pub(crate) fn number(&self, place: usize) -> usize {
        if self.folder.is_some() { 1 } else { place + 1 }
    }

    /// Returns the call that goes by a number.
    pub(crate) fn call(&self, number: usize) -> Option<&DumpedCall> {
        let mut calls = self.session.calls.iter().enumerate();
        calls
            .find(|(place, call)| self.is_wanted(call) && self.number(*place) == number)
            .map(|(_, call)| call)
    }

    /// Says why no call was taken.
    pub(crate) fn why_nothing(&self) -> String {
        match self.session.calls.len() {
            0 => "there is no call in this session".to_owned(),
            calls => format!("--only and --skip take none of the {calls} calls in this session"),
        }
    }

    /// Tells whether a call is the one that was asked for, if only one was.
    pub(crate) fn is_wanted(&self, call: &DumpedCall) -> bool {
        self.folder.as_ref().is_none_or(|folder| *folder == call.folder)
    }
}

/// Opens a session folder or the folder of one call.
///
/// A call's folder is opened through its session where the session lies around it: a method needs the object
/// that an earlier call built.
pub(crate) fn open(dir: &Path, read: &ReadArgs) -> Result<Opened, Failure> {
    if let Some((parent, folder)) = surrounding_session(dir) {
        let source = source(&parent, read)?;
        let session = callbox_core::DumpSource::calls(&source)?;
        if session.calls.iter().any(|call| call.folder == folder) {
            return Ok(Opened { source, dir: parent, session, folder: Some(folder) });
        }
    }
    let source = source(dir, read).map_err(|error| one_too_high(dir, error))?;
    let session = callbox_core::DumpSource::calls(&source)?;
    Ok(Opened { source, dir: dir.to_owned(), session, folder: None })
}

/// Opens a folder without listing it.
pub(crate) fn source(dir: &Path, read: &ReadArgs) -> Result<FsSource, SourceError> {
    FsSource::open(dir, formats(), options(read))
}

/// Adds the folder below, where that is the session.
pub(crate) fn one_too_high(dir: &Path, error: SourceError) -> Failure {
    let below = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let session = below.filter(|path| path.join(SESSION_FILE).exists()).min();
    let failure = Failure::from(error);
    match session {
        Some(session) => {
            let hint =
                format!("{}; did you mean {}?", failure.error, style::shell(&session.to_string_lossy()));
            Failure::new(failure.exit, hint)
        }
        None => failure,
    }
}

fn surrounding_session(dir: &Path) -> Option<(PathBuf, String)> {
    if dir.join(SESSION_FILE).exists() || !dir.join(METADATA_FILE).exists() {
        return None;
    }
    let dir = dir.canonicalize().ok()?;
    let (parent, folder) = (dir.parent()?, dir.file_name()?.to_str()?);
    parent.join(SESSION_FILE).exists().then(|| (parent.to_owned(), folder.to_owned()))
}

/// Returns the formats that files may have.
pub(crate) fn formats() -> Vec<Arc<dyn TensorSerializer>> {
    vec![Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)]
}

/// Chooses the format to write.
pub(crate) fn format(format: TensorFormat) -> Arc<dyn TensorSerializer> {
    match format {
        TensorFormat::Pt => Arc::new(PtSerializer),
        TensorFormat::Safetensors => Arc::new(SafetensorsSerializer),
    }
}

/// Chooses how files are read.
pub(crate) fn options(read: &ReadArgs) -> ReadOptions {
    ReadOptions { mode: if read.mmap { ReadMode::Mapped } else { ReadMode::Buffered } }
}

/// The executors of a device.
pub(crate) enum Chosen<'a> {
    Given(&'a ExecutorFactory<'static>),
    Opened(Box<ExecutorFactory<'static>>),
}

impl Deref for Chosen<'_> {
    type Target = ExecutorFactory<'static>;

    fn deref(&self) -> &ExecutorFactory<'static> {
        match self {
            Chosen::Given(factory) => *factory,
            Chosen::Opened(factory) => &**factory,
        }
    }
}

/// Chooses the executors of a device, which is opened where it has to be.
pub(crate) fn executors<'a>(device: Device, executors: &Executors<'a>) -> Result<Chosen<'a>, Failure> {
    let unavailable =
        |reason: String| Failure::new(Exit::NoDevice, format!("device {device} is not available: {reason}"));
    match (device, executors.cuda) {
        (Device::Cpu, _) => Ok(Chosen::Given(executors.cpu)),
        (Device::Cuda(index), Some(open)) => {
            open(index).map(Chosen::Opened).map_err(|error| unavailable(callbox_core::error::chain(&*error)))
        }
        (Device::Cuda(_), None) => {
            Err(unavailable("this program has no CUDA executor; use --device cpu".to_owned()))
        }
    }
}

/// Builds the filter that --only and --skip describe.
pub(crate) fn filter(select: &SelectArgs) -> Filter {
    Filter::new(&select.only, &select.skip)
}

/// Builds the comparison that --rtol, --atol, --parity and --nan-differs describe.
pub(crate) fn comparison(compare: &CompareArgs) -> CompareOptions {
    let base = if compare.parity { CompareOptions::parity() } else { CompareOptions::default() };
    CompareOptions {
        rtol: compare.rtol.or(base.rtol),
        atol: compare.atol.or(base.atol),
        equal_nan: !compare.nan_differs,
    }
}
