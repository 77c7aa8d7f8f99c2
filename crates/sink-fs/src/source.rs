//! A folder that a recorder wrote, as a source of recorded calls.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{
    DumpSource, DumpedCall, FormatError, Group, LoadedRecord, Session, SlotName, SourceError, TensorMap,
    TensorSerializer,
};

use crate::flushes::folder_of_tensors;
use crate::folder::METADATA_FILE;
use crate::index::SESSION_FILE;
use crate::json::Json;
use crate::metadata::{differences, read_metadata, read_metadata_json, unstable};
use crate::open::Root;
use crate::session::{is_call_folder, list_call, list_session};
use crate::tree::FileTree;

/// How files of tensors are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Into memory, or as memory.
    pub mode: ReadMode,
}

/// Two ways to get at a file's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// Reads whole files into buffers that are used again.
    #[default]
    Buffered,
    /// Maps files. Faster where only parts are looked at; a file that another process cuts short meanwhile ends
    /// this process with SIGBUS.
    Mapped,
}

/// A session folder, or the folder of one call, written by FlashInfer or by callbox's recorder.
///
/// Nothing outside the folder is read, symbolic links inside it are not followed, and nothing is written.
#[derive(Debug)]
pub struct FsSource {
    tree: FileTree,
    shape: Shape,
}

/// What the folder is.
#[derive(Debug)]
enum Shape {
    Session,
    /// One call, by its folder's name.
    Call(String),
}

impl FsSource {
    /// Opens a folder that holds `session.jsonl` or call folders, or that is the folder of one call: also that
    /// of one flush of a call that was captured into a CUDA graph.
    ///
    /// Files of tensors are read by the format whose extension they have.
    pub fn open(
        path: &Path,
        formats: Vec<Arc<dyn TensorSerializer>>,
        options: ReadOptions,
    ) -> Result<FsSource, SourceError> {
        let tree = FileTree::open(path, formats, options)?;
        let shape = shape(&tree.root, path)?;
        Ok(FsSource { tree, shape })
    }

    /// Returns the session's files as they are.
    pub fn tree(&self) -> &FileTree {
        &self.tree
    }

    /// Reads the last whole record of a call as it was written, with every key.
    pub fn metadata_json(&self, call: &DumpedCall) -> Result<Json, SourceError> {
        read_metadata_json(&self.tree.root, &self.folder_of(call))
    }

    /// Returns where a call's record and tensors are: of a captured call in the folder of its last flush.
    fn folder_of(&self, call: &DumpedCall) -> PathBuf {
        folder_of_tensors(&self.tree.root, &self.relative(call), call.flush)
    }

    /// Returns where a call's folder is below the root: the root itself, if only this call was opened.
    pub fn relative(&self, call: &DumpedCall) -> PathBuf {
        match &self.shape {
            Shape::Session => PathBuf::from(&call.folder),
            Shape::Call(_) => PathBuf::new(),
        }
    }

    /// Chooses between files of one group in several formats: the record names the format that counts.
    fn recorded_format<'a>(
        &self,
        call: &DumpedCall,
        files: Vec<(&'a dyn TensorSerializer, PathBuf, File)>,
    ) -> Result<(&'a dyn TensorSerializer, PathBuf, File), SourceError> {
        let record = read_metadata(&self.tree.root, &self.folder_of(call))?.record;
        let names: Vec<_> = files.iter().map(|(format, ..)| format!("`{}`", format.format().name)).collect();
        let path = self.tree.root.path_of(&self.folder_of(call));
        let mut files = files.into_iter();
        files.find(|(format, ..)| format.format().name == record.tensor_format).ok_or_else(|| {
            let reason =
                format!("tensor_format is `{}`, the files are {}", record.tensor_format, names.join(", "));
            SourceError::Format { path, source: FormatError::Unsupported(reason) }
        })
    }
}

impl DumpSource for FsSource {
    fn calls(&self) -> Result<Session, SourceError> {
        match &self.shape {
            Shape::Session => list_session(&self.tree.root),
            Shape::Call(name) => Ok(list_call(&self.tree.root, name)),
        }
    }

    fn record(&self, call: &DumpedCall) -> Result<LoadedRecord, SourceError> {
        let relative = self.folder_of(call);
        let mut metadata = read_metadata(&self.tree.root, &relative)?;
        metadata.findings.extend(differences(call, &metadata.record, &relative));
        metadata.findings.extend(unstable(&metadata.record, &relative));
        Ok(LoadedRecord { record: metadata.record, findings: metadata.findings })
    }

    fn load(&self, call: &DumpedCall, group: Group) -> Result<Option<TensorMap>, SourceError> {
        let mut files = Vec::new();
        let folder = self.folder_of(call);
        for format in &self.tree.formats {
            let relative = folder.join(format!("{}.{}", group.stem(), format.format().extension));
            if let Some(file) = self.tree.root.file(&relative)? {
                files.push((&**format, relative, file));
            }
        }
        let (format, relative, file) = match files.len() {
            0 => return Ok(None),
            1 => files.remove(0),
            _ => self.recorded_format(call, files)?,
        };
        self.tree.decode(format, &relative, file).map(|(tensors, _)| Some(tensors))
    }
}

fn shape(root: &Root, path: &Path) -> Result<Shape, SourceError> {
    if root.exists(Path::new(SESSION_FILE)) {
        return Ok(Shape::Session);
    }
    // A path such as `.` has no name of its own.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let entries = root.list(Path::new(""))?.unwrap_or_default();
    let has =
        |wanted: &dyn Fn(&str) -> bool| entries.iter().any(|entry| entry.name.as_deref().is_some_and(wanted));
    let is_of_a_call = |name: &str| {
        let stem = name.split('.').next();
        name == METADATA_FILE || Group::ALL.iter().any(|group| stem == Some(group.stem()))
    };
    if has(&is_of_a_call) || SlotName::parse(&name).is_some() {
        return Ok(Shape::Call(name));
    }
    let mut names = entries.iter().filter_map(|entry| Some((entry.name.as_deref()?, entry.kind)));
    if names.any(|(name, kind)| is_call_folder(root, name, kind)) {
        return Ok(Shape::Session);
    }
    Err(SourceError::NotASession(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use callbox_core::error::chain;
    use callbox_core::{ExecutionStatus, LoadedTensor};

    use super::*;
    use crate::sample::{Sample, line, open, open_with, slot, state};

    /// A session of one completed call.
    fn one_call() -> (Sample, DumpedCall) {
        let mut sample = Sample::new();
        sample.call(&slot(1), &["inputs_saved", "completed"]);
        let call = sample.list().calls.remove(0);
        (sample, call)
    }

    /// Loads a group; returns the format that read it and the file's text.
    fn load(source: &FsSource, call: &DumpedCall, group: Group) -> Result<Option<(String, String)>, String> {
        let tensors = source.load(call, group).map_err(|error| chain(&error))?;
        Ok(tensors.map(|tensors| {
            let (format, tensor) = tensors.iter().next().unwrap();
            let LoadedTensor::Whole(tensor) = tensor else { panic!("the format knows whole tensors only") };
            (format.to_owned(), String::from_utf8(tensor.to_bytes().to_vec()).unwrap())
        }))
    }

    fn check_error(source: &FsSource, call: &DumpedCall, error: &str) {
        let found = load(source, call, Group::Inputs).unwrap_err();
        assert!(found.contains(error), "{found}");
        assert!(found.contains("inputs.first") || found.contains(&slot(1).to_string()), "{found}");
    }

    #[test]
    fn a_large_file_of_something_else_is_not_read() {
        let (sample, _) = one_call();
        let path = sample.path().join(slot(1).to_string()).join("inputs.first");
        // A terabyte of zeros that takes no room on the disk.
        File::create(path).unwrap().set_len(1 << 40).unwrap();
        let source = open(sample.path()).unwrap();
        let call = &source.calls().unwrap().calls[0];
        check_error(&source, call, "not a first file: it begins with 0");
    }

    #[test]
    fn what_is_no_session_is_named() {
        let sample = Sample::new();
        sample.write("text", "");
        let path = |name: &str| sample.path().join(name);
        assert!(matches!(open(&path("nothing")), Err(SourceError::NotFound(_))));
        assert!(matches!(open(&path("text")), Err(SourceError::NotAFolder(_))));
        assert!(matches!(open(sample.path()), Err(SourceError::NotASession(_))));
        sample.write("unrelated/text", "");
        assert!(matches!(open(sample.path()), Err(SourceError::NotASession(_))));
        sample.write("unrelated/metadata.jsonl", "");
        assert!(open(sample.path()).is_ok());
    }

    #[test]
    fn the_folder_of_one_call_is_a_session_of_one() {
        let (sample, _) = one_call();
        let folder = sample.path().join(slot(1).to_string());
        let link = sample.path().join("latest");
        symlink(&folder, &link).unwrap();
        for path in [folder.clone(), folder.join("."), link] {
            let source = open(&path).unwrap();
            let session = source.calls().unwrap();
            assert_eq!(session.calls.len(), 1);
            let call = &session.calls[0];
            assert_eq!(
                (call.folder.clone(), state(&call.state)),
                (slot(1).to_string(), "completed".to_owned())
            );
            assert_eq!(source.record(call).unwrap().record.call_sequence, 1);
            assert_eq!(load(&source, call, Group::Outputs).unwrap().unwrap().1, "outputs");
        }
    }

    #[test]
    fn an_empty_call_folder_and_one_of_a_flush_can_be_opened() {
        let sample = Sample::new();
        let empty = sample.path().join(slot(1).to_string());
        fs::create_dir(&empty).unwrap();
        assert_eq!(state(&open(&empty).unwrap().calls().unwrap().calls[0].state), "not_started");

        let flushes = format!("{}/graph_flushes", slot(2));
        sample.write(&format!("{flushes}/flush_0001/metadata.jsonl"), line(&slot(2), "completed"));
        let flush = open(&sample.path().join(&flushes).join("flush_0001")).unwrap().calls().unwrap();
        assert_eq!((flush.calls[0].folder.as_str(), flush.calls[0].call_sequence), ("flush_0001", 2));
        assert_eq!(open(&sample.path().join(flushes)).unwrap().calls().unwrap().calls.len(), 1);
    }

    #[test]
    fn tensors_are_read_by_the_format_of_their_file() {
        let (sample, call) = one_call();
        let source = sample.open().unwrap();
        let loaded = |group| load(&source, &call, group).unwrap();
        assert_eq!(loaded(Group::Inputs), Some(("first".to_owned(), "inputs".to_owned())));
        assert_eq!(loaded(Group::ArgsAfter), None);
        sample.write(&format!("{}/args_after.second", slot(1)), "after");
        assert_eq!(loaded(Group::ArgsAfter), Some(("second".to_owned(), "after".to_owned())));
    }

    #[test]
    fn mapped_files_read_the_same() {
        let (sample, call) = one_call();
        let source = open_with(sample.path(), ReadOptions { mode: ReadMode::Mapped }).unwrap();
        assert_eq!(load(&source, &call, Group::Inputs).unwrap().unwrap().1, "inputs");
        sample.write(&format!("{}/inputs.first", slot(1)), "");
        check_error(&source, &call, "the file is empty");
    }

    #[test]
    fn between_two_formats_the_record_decides() {
        let (sample, call) = one_call();
        sample.write(&format!("{}/inputs.second", slot(1)), "other");
        let source = sample.open().unwrap();
        let metadata = format!("{}/metadata.jsonl", slot(1));
        for format in ["first", "second"] {
            let record = line(&slot(1), "completed").replace("\"first\"", &format!("\"{format}\""));
            sample.write(&metadata, record);
            assert_eq!(load(&source, &call, Group::Inputs).unwrap().unwrap().0, format);
        }
        sample.write(&metadata, line(&slot(1), "completed").replace("\"first\"", "\"third\""));
        check_error(&source, &call, "tensor_format is `third`, the files are `first`, `second`");
        sample.write(&metadata, "");
        check_error(&source, &call, "no whole record of the call: the file has no lines");
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let (sample, call) = one_call();
        let source = sample.open().unwrap();
        let inputs = sample.path().join(slot(1).to_string()).join("inputs.first");
        fs::write(&inputs, "").unwrap();
        check_error(&source, &call, "the file is empty");
        fs::remove_file(&inputs).unwrap();
        fs::create_dir(&inputs).unwrap();
        check_error(&source, &call, "a folder, not a regular file");
        fs::remove_dir(&inputs).unwrap();
        symlink("outputs.first", &inputs).unwrap();
        check_error(&source, &call, "symbolic links are not followed");
    }

    #[test]
    fn u60_a_call_that_names_a_folder_elsewhere_is_refused() {
        let (sample, mut call) = one_call();
        let source = sample.open().unwrap();
        for folder in ["..", "../x", "/etc"] {
            call.folder = folder.to_owned();
            assert!(matches!(source.record(&call), Err(SourceError::UnsafePath { .. })), "{folder}");
            assert!(
                matches!(source.load(&call, Group::Inputs), Err(SourceError::UnsafePath { .. })),
                "{folder}"
            );
        }
    }

    #[test]
    fn a_call_s_own_record_is_the_truth_and_differences_are_reported() {
        let (sample, call) = one_call();
        let source = sample.open().unwrap();
        assert!(source.record(&call).unwrap().findings.is_empty());
        let own = line(&slot(1), "inputs_saved")
            .replace("\"f\"", "\"g\"")
            .replace("sequence\": 1", "sequence\": 2");
        sample.write(&format!("{}/metadata.jsonl", slot(1)), own);
        let LoadedRecord { record, findings } = source.record(&call).unwrap();
        assert_eq!((record.function.name(), &record.status), ("g", &ExecutionStatus::InputsSaved));
        let messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "the session lists function m.f, this record says m.g: the record counts",
                "the session lists call number 1, this record says 2: the record counts",
                "the session lists status completed, this record says inputs_saved: the record counts",
            ]
        );
    }

    #[test]
    fn metadata_is_handed_out_with_every_key() {
        let (sample, call) = one_call();
        let json = sample.open().unwrap().metadata_json(&call).unwrap();
        assert_eq!(json.to_strict_string() + "\n", line(&slot(1), "completed"));
    }
}
