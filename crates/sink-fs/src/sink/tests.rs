use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use callbox_core::error::chain;
use callbox_core::{
    Bytes, DType, DumpSource, Format, FormatError, Group, Layout, LoadedTensor, StorageId, TensorBuf,
    TensorMap, TensorView, Usage, WrittenFile,
};
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use super::*;
use crate::sample::{Plain, line, open, slot, state};

fn options(root: &Path) -> SinkOptions {
    SinkOptions {
        root: root.to_owned(),
        format: Arc::new(Plain("first")),
        fallback: Some(Arc::new(Plain("second"))),
        durability: Durability::Process,
        hashing: Hashing::Xxh3,
    }
}

/// A sink whose session's folder is not there yet.
fn sink() -> (TempDir, PathBuf, FsSink) {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("a/dumps");
    let sink = FsSink::new(options(&root));
    (folder, root, sink)
}

fn tensor(dtype: DType) -> TensorBuf {
    TensorBuf::from_elements(dtype, &[2], (0..2 * dtype.item_size()).map(|byte| byte as u8).collect())
        .unwrap()
}

fn group<'a>(group: Group, tensors: &'a [TensorBuf]) -> TensorGroup<'a> {
    let view =
        |(key, tensor): (&'a str, &'a TensorBuf)| -> (&'a str, TensorView<'a>) { (key, tensor.as_view()) };
    TensorGroup {
        stem: group.stem(),
        tensors: ["arg_0", "arg_1"].into_iter().zip(tensors).map(view).collect(),
    }
}

fn put(
    sink: &FsSink,
    slot: &mut dyn DumpSlot,
    which: Group,
    tensors: &[TensorBuf],
) -> Result<WrittenFile, SinkError> {
    let tensors = group(which, tensors);
    slot.put(which, &tensors, &sink.plan(&tensors).unwrap())
}

fn json_line(slot: &SlotName, status: &str) -> Line {
    Line::new(line(slot, status).into_bytes())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Records a call of two tensors.
fn record(sink: &FsSink, name: &SlotName, statuses: &[&str]) -> String {
    let mut slot = sink.open(name).unwrap();
    put(sink, &mut *slot, Group::Inputs, &[tensor(DType::Float32)]).unwrap();
    for status in statuses {
        if *status == "completed" {
            put(sink, &mut *slot, Group::Outputs, &[tensor(DType::Int64)]).unwrap();
        }
        let line = json_line(name, status);
        assert_eq!(slot.append(&line).unwrap(), line.byte_len());
        assert_eq!(sink.log(&line).unwrap(), line.byte_len());
    }
    slot.location().to_owned()
}

#[test]
fn what_is_written_is_read_back() {
    for durability in [Durability::Process, Durability::System] {
        let (_folder, root, _) = sink();
        let sink = FsSink::new(SinkOptions { durability, ..options(&root) });
        record(&sink, &slot(1), &["inputs_saved", "completed"]);
        record(&sink, &slot(2), &["inputs_saved"]);
        record(&sink, &slot(3), &["inputs_saved", "failed"]);
        let source = open(&root).unwrap();
        let session = source.calls().unwrap();
        assert!(session.findings.is_empty(), "{:?}", session.findings);
        let states: Vec<_> = session.calls.iter().map(|call| state(&call.state)).collect();
        assert_eq!(states, ["completed", "inputs_saved", "failed"]);
        for (which, dtype) in [(Group::Inputs, DType::Float32), (Group::Outputs, DType::Int64)] {
            let tensors = source.load(&session.calls[0], which).unwrap().unwrap();
            let Some(LoadedTensor::Whole(bytes)) = tensors.get("first") else { panic!("{tensors:?}") };
            assert_eq!(bytes.to_bytes(), tensor(dtype).to_bytes());
        }
    }
}

#[test]
fn u32_nothing_is_made_before_the_first_call_and_then_for_the_owner_alone() {
    let (folder, root, sink) = sink();
    sink.plan(&group(Group::Inputs, &[])).unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
    let location = record(&sink, &slot(1), &["inputs_saved"]);
    let call = root.join(slot(1).to_string());
    assert_eq!(location, call.to_str().unwrap());
    assert_eq!(names(&root), [slot(1).to_string(), "session.jsonl".to_owned()]);
    assert_eq!(names(&call), ["inputs.first", "metadata.jsonl"]);
    for folder in [folder.path().join("a"), root.clone(), call.clone()] {
        assert_eq!(mode(&folder), 0o700, "{folder:?}");
    }
    for file in [root.join("session.jsonl"), call.join("inputs.first"), call.join("metadata.jsonl")] {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
}

#[test]
fn paths_are_recorded_as_pathlib_has_them() {
    for (configured, recorded) in [
        ("a/b c/./d//e", "a/b c/d/e"),
        ("./a/", "a"),
        ("a/../b", "a/../b"),
        ("/a//b", "/a/b"),
        (".", "."),
        ("", "."),
    ] {
        assert_eq!(normalised(Path::new(configured)), Path::new(recorded), "{configured}");
    }
    let (_folder, root, _) = sink();
    let sink = FsSink::new(options(&root.join(".//x")));
    assert!(sink.open(&slot(1)).unwrap().location().ends_with(&format!("a/dumps/x/{}", slot(1))));
}

#[test]
fn u22_a_name_that_is_taken_is_never_shared() {
    let (_folder, root, sink) = sink();
    let other = FsSink::new(options(&root));
    fs::create_dir_all(&root).unwrap();
    symlink("/tmp", root.join(slot(1).to_string().replace("_f_", "_f_2_"))).unwrap();
    let places: Vec<_> = [&sink, &other, &sink]
        .map(|sink| sink.open(&slot(1)).unwrap().location().rsplit_once("_pid7").unwrap().1.to_owned())
        .into();
    assert_eq!(places, ["_f_call0001", "_f_3_call0001", "_f_4_call0001"]);
}

#[test]
fn u60_a_hostile_name_stays_inside_the_session() {
    let (folder, root, sink) = sink();
    for function in ["../../out", "/etc/out", "a\0b", "..", &"long".repeat(100)] {
        let place = sink.open(&SlotName { function: function.to_owned(), ..slot(1) }).unwrap();
        assert_eq!(Path::new(place.location()).parent(), Some(&*root), "{function}");
    }
    assert_eq!(names(&root).len(), 5);
    assert_eq!(names(folder.path()), ["a"]);
}

/// A format that looks at the call's folder while it writes.
#[derive(Debug)]
struct Watching(PathBuf);

impl TensorSerializer for Watching {
    fn format(&self) -> Format {
        Format { name: "watching", extension: "watched", keeps_layout: false }
    }

    fn plan<'a>(&self, _: &'a TensorGroup<'a>) -> Result<FilePlan, FormatError> {
        Ok(FilePlan { format: self.format(), bytes: 3 << 20, hash: None, remarks: Vec::new() })
    }

    fn encode<'a>(&self, _: &'a TensorGroup<'a>, out: &'a mut dyn std::io::Write) -> Result<(), FormatError> {
        for _ in 0..3 {
            out.write_all(&[1; 1 << 20]).map_err(FormatError::Write)?;
            assert_eq!(names(&self.0), [".inputs.watched.tmp"]);
        }
        Ok(())
    }

    fn recognise(&self, _: &[u8]) -> Result<(), FormatError> {
        Ok(())
    }

    fn decode(&self, _: Bytes) -> Result<TensorMap, FormatError> {
        Ok(TensorMap::default())
    }
}

#[test]
fn u02_half_a_file_is_never_seen_under_its_final_name() {
    let (_folder, root, _) = sink();
    let call = root.join(slot(1).to_string());
    let sink = FsSink::new(SinkOptions { format: Arc::new(Watching(call.clone())), ..options(&root) });
    let mut place = sink.open(&slot(1)).unwrap();
    put(&sink, &mut *place, Group::Inputs, &[]).unwrap();
    assert_eq!(names(&call), ["inputs.watched"]);
    assert_eq!(fs::read(call.join("inputs.watched")).unwrap(), [1; 3 << 20]);
}

#[test]
fn a_file_of_another_size_than_planned_is_an_error_and_leaves_nothing() {
    let (_folder, root, sink) = sink();
    let mut place = sink.open(&slot(1)).unwrap();
    let tensors = [tensor(DType::Float32)];
    let tensors = group(Group::Inputs, &tensors);
    let planned = sink.plan(&tensors).unwrap();
    for (bytes, reason) in [
        (7, "failed to write .inputs.first.tmp: more bytes came than were planned"),
        (9, "failed to write .inputs.first.tmp: 9 bytes were planned, 1 of them did not come"),
        (1 << 60, "failed to reserve space for .inputs.first.tmp: "),
    ] {
        let error = place.put(Group::Inputs, &tensors, &FilePlan { bytes, ..planned.clone() }).unwrap_err();
        let error = chain(&error).replace(&format!("{}/", place.location()), "");
        assert!(error.starts_with(reason), "{error}");
    }
    assert_eq!(names(&root.join(slot(1).to_string())), [""; 0]);
    let foreign = Format { name: "foreign", ..planned.format };
    let error = place.put(Group::Inputs, &tensors, &FilePlan { format: foreign, ..planned }).unwrap_err();
    assert!(chain(&error).ends_with("this sink does not write the format foreign"), "{error}");
}

/// A format that fails, and puts a folder in place of its file before it does.
#[derive(Debug)]
struct Hostile(PathBuf);

impl TensorSerializer for Hostile {
    fn format(&self) -> Format {
        Format { name: "hostile", extension: "hostile", keeps_layout: false }
    }

    fn plan<'a>(&self, _: &'a TensorGroup<'a>) -> Result<FilePlan, FormatError> {
        Ok(FilePlan { format: self.format(), bytes: 1, hash: None, remarks: Vec::new() })
    }

    fn encode<'a>(&self, _: &'a TensorGroup<'a>, _: &'a mut dyn std::io::Write) -> Result<(), FormatError> {
        let file = self.0.join(".inputs.hostile.tmp");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        Err(FormatError::Unsupported("no reason".to_owned()))
    }

    fn recognise(&self, _: &[u8]) -> Result<(), FormatError> {
        Ok(())
    }

    fn decode(&self, _: Bytes) -> Result<TensorMap, FormatError> {
        Ok(TensorMap::default())
    }
}

#[test]
fn a_part_of_a_file_that_cannot_be_removed_is_told() {
    let (_folder, root, _) = sink();
    let call = root.join(slot(1).to_string());
    let sink = FsSink::new(SinkOptions { format: Arc::new(Hostile(call.clone())), ..options(&root) });
    let mut place = sink.open(&slot(1)).unwrap();
    let error = chain(&put(&sink, &mut *place, Group::Inputs, &[]).unwrap_err());
    let error = error.replace(&format!("{}/", call.display()), "");
    assert!(error.starts_with("failed to remove .inputs.hostile.tmp: "), "{error}");
    assert!(error.ends_with(", after: failed to encode tensors: unsupported: no reason"), "{error}");
}

#[test]
fn a_group_that_the_format_cannot_hold_is_written_in_the_other_and_told() {
    let (_folder, root, sink) = sink();
    let tensors = [tensor(DType::Float32), tensor(DType::Complex128)];
    let tensors = group(Group::Inputs, &tensors);
    let plan = sink.plan(&tensors).unwrap();
    assert_eq!((plan.format.name, plan.bytes), ("second", 40));
    assert_eq!(
        plan.remarks[0].text,
        "tensor `arg_1` of torch.complex128 cannot be kept in a .first file (it is too complex); it and the tensors \
         beside it are written as .second"
    );
    sink.open(&slot(1)).unwrap().put(Group::Inputs, &tensors, &plan).unwrap();
    assert_eq!(names(&root.join(slot(1).to_string())), ["inputs.second"]);
    let alone = FsSink::new(SinkOptions { fallback: None, ..options(&root) });
    assert!(matches!(alone.plan(&tensors), Err(SinkError::Format(FormatError::CannotHold { .. }))));
}

#[test]
fn discarding_removes_what_was_made_and_nothing_else() {
    let (_folder, root, sink) = sink();
    let mut place = sink.open(&slot(1)).unwrap();
    put(&sink, &mut *place, Group::Inputs, &[tensor(DType::Float32)]).unwrap();
    place.append(&json_line(&slot(1), "inputs_saved")).unwrap();
    place.discard().unwrap();
    assert_eq!(names(&root), [""; 0]);

    let place = sink.open(&slot(2)).unwrap();
    let notes = Path::new(place.location()).join("notes.txt");
    fs::write(&notes, "not ours").unwrap();
    let error = place.discard().unwrap_err();
    assert!(error.to_string().starts_with("failed to remove "), "{error}");
    assert!(notes.exists());
}

fn check_log_refused(root: &Path, reason: &str) {
    let sink = FsSink::new(options(root));
    let error = chain(&sink.log(&json_line(&slot(1), "inputs_saved")).unwrap_err());
    assert_eq!(error, format!("failed to open {}: {reason}", root.join("session.jsonl").display()));
}

#[test]
fn u59_u63_links_and_fifos_in_place_of_the_index_are_refused_without_waiting() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("session.jsonl");
    fs::write(folder.path().join("victim"), "").unwrap();
    symlink("victim", &index).unwrap();
    check_log_refused(folder.path(), "it is a symbolic link, and those are not followed");
    assert_eq!(fs::read_to_string(folder.path().join("victim")).unwrap(), "");
    fs::remove_file(&index).unwrap();
    mkfifoat(CWD, &index, Mode::RUSR | Mode::WUSR).unwrap();
    check_log_refused(folder.path(), "it is not a regular file");
    fs::remove_file(&index).unwrap();
    fs::create_dir(&index).unwrap();
    check_log_refused(folder.path(), "Is a directory (os error 21)");
}

#[test]
fn u10_a_session_that_cannot_be_made_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let sink = FsSink::new(options(&folder.path().join("file/dumps")));
    let error = chain(&sink.open(&slot(1)).unwrap_err());
    assert!(error.contains("file/dumps: Not a directory"), "{error}");
    fs::remove_file(folder.path().join("file")).unwrap();
    assert!(sink.open(&slot(1)).is_ok(), "and is tried again with the next call");
}

#[test]
fn what_was_removed_meanwhile_is_made_again() {
    let (_folder, root, sink) = sink();
    record(&sink, &slot(1), &["inputs_saved"]);
    fs::remove_file(root.join("session.jsonl")).unwrap();
    record(&sink, &slot(2), &["inputs_saved"]);
    assert_eq!(fs::read_to_string(root.join("session.jsonl")).unwrap(), line(&slot(2), "inputs_saved"));
    fs::remove_dir_all(&root).unwrap();
    record(&sink, &slot(3), &["inputs_saved"]);
    assert_eq!(names(&root), [slot(3).to_string(), "session.jsonl".to_owned()]);
}

#[test]
fn an_index_that_failed_is_opened_anew() {
    let (_folder, root, sink) = sink();
    record(&sink, &slot(1), &["inputs_saved"]);
    assert!(Arc::ptr_eq(&sink.index().unwrap(), &sink.index().unwrap()), "it stays open");
    let index =
        LineFile::that_cannot_sync(sink.folder().unwrap().open_appended(SESSION_FILE).unwrap(), |_| {});
    *locked(&sink.open_session().index) = Some(Arc::new(index));
    assert!(sink.log(&json_line(&slot(2), "inputs_saved")).is_err());
    record(&sink, &slot(2), &["inputs_saved"]);
    let text = line(&slot(1), "inputs_saved") + &line(&slot(2), "inputs_saved");
    assert_eq!(fs::read_to_string(root.join("session.jsonl")).unwrap(), text);
}

#[test]
fn what_all_processes_used_is_counted_in_one_file_until_that_is_removed() {
    let (_folder, root, sink) = sink();
    let most = Usage { calls: 2, bytes: 10 };
    let take = |counter: &dyn UsageCounter| counter.take(Usage { calls: 1, bytes: 3 }, most).unwrap();
    let first = sink.counter().unwrap();
    assert_eq!(take(&*first), Some(Usage { calls: 1, bytes: 3 }));
    assert!(Arc::ptr_eq(&first, &sink.counter().unwrap()), "it stays open");
    assert_eq!(take(&*FsSink::new(options(&root)).counter().unwrap()), Some(Usage { calls: 2, bytes: 6 }));
    assert_eq!(take(&*first), None);
    fs::remove_file(root.join("session.limits")).unwrap();
    assert_eq!(take(&*sink.counter().unwrap()), Some(Usage { calls: 1, bytes: 3 }));
}

#[test]
fn the_free_space_is_that_of_the_session_s_file_system() {
    let (folder, _, sink) = sink();
    let system = rustix::fs::statvfs(folder.path()).unwrap();
    let (free, told) = (system.f_bavail * system.f_frsize, sink.free_bytes().unwrap().unwrap());
    // Others write meanwhile.
    assert!(told / 2 <= free && free / 2 <= told, "{told} of {free}");
}

/// Memory that is another at each look, for as many looks as there are versions.
struct Restless(Cell<usize>, Vec<[u8; 4]>);

impl Restless {
    fn new(versions: u8) -> Restless {
        Restless(Cell::new(0), (0..versions).map(|version| [version; 4]).collect())
    }
}

impl AsRef<[u8]> for Restless {
    fn as_ref(&self) -> &[u8] {
        self.0.set(self.0.get() + 1);
        &self.1[self.0.get().min(self.1.len() - 1)]
    }
}

#[test]
fn u23_a_file_of_memory_that_changed_is_marked_whether_hashes_are_recorded_or_not() {
    let (_folder, root, _) = sink();
    for (number, hashing, versions, is_unstable) in [
        (1, Hashing::Xxh3, 1, false),
        (2, Hashing::Off, 1, false),
        (3, Hashing::Xxh3, 200, true),
        (4, Hashing::Off, 200, true),
    ] {
        let sink = FsSink::new(SinkOptions { hashing, ..options(&root) });
        let (layout, id) = (Layout::contiguous(&[4]).unwrap(), StorageId::new(7));
        let view = TensorView::held(DType::UInt8, layout, id, Restless::new(versions)).unwrap();
        let tensors = TensorGroup { stem: Group::Inputs.stem(), tensors: vec![("arg_0", view)] };
        let mut place = sink.open(&slot(number)).unwrap();
        let written = place.put(Group::Inputs, &tensors, &sink.plan(&tensors).unwrap()).unwrap();
        assert_eq!(written.is_unstable, is_unstable, "{hashing} {versions}");
        assert_eq!(written.hash.is_some(), hashing == Hashing::Xxh3);
    }
    let (_, _, sink) = self::sink();
    let mut place = sink.open(&slot(1)).unwrap();
    assert!(!put(&sink, &mut *place, Group::Inputs, &[tensor(DType::UInt8)]).unwrap().is_unstable);
}
