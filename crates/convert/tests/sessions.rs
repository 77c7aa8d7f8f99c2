//! Sessions with everything in them that a conversion has to tell apart.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_convert::{ConvertError, ConvertOptions, Report, TargetError, convert};
use callbox_core::{
    Bytes, DType, Flags, Layout, LoadedTensor, TensorBuf, TensorGroup, TensorMap, TensorSerializer,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::ReadOptions;
use tempfile::TempDir;

const CALL: &str = "20260101_120000_001_pid7_f_call0001";
const OTHER: &str = "20260101_120000_002_pid7_f_call0002";

/// A session in the making, and the place of the converted one.
struct Sample {
    folder: TempDir,
    index: String,
}

impl Sample {
    fn new() -> Sample {
        let sample = Sample { folder: TempDir::new().unwrap(), index: String::new() };
        fs::create_dir(sample.dir()).unwrap();
        sample
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("session")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("new")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Records a call with one argument, in a `.pt` file.
    fn call(&mut self, folder: &str, argument: &TensorBuf) {
        let lines =
            line(folder, "torch", argument, "inputs_saved") + &line(folder, "torch", argument, "completed");
        self.write(&format!("{folder}/metadata.jsonl"), &lines);
        self.write(&format!("{folder}/inputs.pt"), file(&PtSerializer, argument));
        self.index.push_str(&lines);
        self.write("session.jsonl", &self.index);
    }

    fn convert(&self, to: impl TensorSerializer + 'static) -> Report {
        self.convert_from(&self.dir(), to).unwrap()
    }

    fn convert_from(&self, dir: &Path, to: impl TensorSerializer + 'static) -> Result<Report, ConvertError> {
        let before = contents(&self.dir());
        let formats: Vec<Arc<dyn TensorSerializer>> =
            vec![Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)];
        let read = ReadOptions::default();
        let options = ConvertOptions { dir, out: &self.out(), formats, to: Arc::new(to), read };
        let report = convert(&options, &mut |_, _| {});
        assert_eq!(contents(&self.dir()), before, "the original is only read");
        report
    }

    /// Converts to safetensors; returns the deviations.
    fn deviations(&self) -> Vec<String> {
        let report = self.convert(SafetensorsSerializer);
        let line = |d: &callbox_convert::Deviation| format!("{} {d}", d.kind.name());
        report
            .deviations
            .iter()
            .map(|deviation| line(deviation).replace(self.folder.path().to_str().unwrap(), ""))
            .collect()
    }
}

/// A record with a key that no version knows.
fn line(folder: &str, format: &str, argument: &TensorBuf, status: &str) -> String {
    let (shape, strides, dtype) = (argument.shape(), argument.layout().strides(), argument.dtype());
    format!(
        "{{\"function_name\": \"f\", \"module\": \"m\", \"call_sequence\": 1, \"tensor_info\": {{\"input_tensor_keys\": \
         [\"arg_0\"], \"output_tensor_keys\": []}}, \"tensor_details\": {{\"arg_0\": {{\"shape\": {shape:?}, \"dtype\": \
         \"{dtype}\", \"stride\": {strides:?}, \"device\": \"cpu\"}}}}, \"tensor_format\": \"{format}\", \"unknown\": \
         [1e+300, NaN], \"execution_status\": \"{status}\", \"dump_dir\": \"old/place/{folder}\"}}\n"
    )
}

fn file(format: &dyn TensorSerializer, argument: &TensorBuf) -> Vec<u8> {
    let group = TensorGroup { stem: "inputs", tensors: vec![("arg_0", argument.as_view())] };
    let mut file = Vec::new();
    format.encode(&group, &mut file).unwrap();
    file
}

fn floats() -> TensorBuf {
    TensorBuf::from_f32(DType::Float32, &[2, 3], &[0., 1., 2., 3., 4., 5.]).unwrap()
}

fn complex128() -> TensorBuf {
    TensorBuf::from_elements(DType::Complex128, &[1], vec![7; 16]).unwrap()
}

/// Every file below a folder, by its path inside it; links by where they lead.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            let name = entry.path().strip_prefix(folder).unwrap().to_owned();
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_symlink() {
                found
                    .insert(name, fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes());
            } else {
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    contents(folder).into_keys().map(|name| name.to_str().unwrap().to_owned()).collect()
}

fn argument(format: &dyn TensorSerializer, path: &Path) -> TensorBuf {
    let read: TensorMap = format.decode(Bytes::from(fs::read(path).unwrap())).unwrap();
    match read.get("arg_0") {
        Some(LoadedTensor::Whole(tensor)) => tensor.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tensors_change_their_format_and_records_say_so() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    let report = sample.convert(SafetensorsSerializer);
    assert!(report.deviations.is_empty(), "{:?}", report.deviations);
    assert_eq!((report.totals.converted, report.totals.records, report.totals.layouts_lost), (1, 4, 0));
    let file = sample.out().join(CALL).join("inputs.safetensors");
    assert_eq!(argument(&SafetensorsSerializer, &file).to_f32().unwrap(), floats().to_f32().unwrap());
    let place = format!("{}/{CALL}", sample.out().display());
    let expected =
        sample.index.replace("\"torch\"", "\"safetensors\"").replace(&format!("old/place/{CALL}"), &place);
    for records in ["session.jsonl".to_owned(), format!("{CALL}/metadata.jsonl")] {
        assert_eq!(fs::read_to_string(sample.out().join(records)).unwrap(), expected);
    }
    let total: usize = contents(&sample.out()).values().map(Vec::len).sum();
    assert_eq!(report.totals.bytes_after, total as u64);
    let total: usize = contents(&sample.dir()).values().map(Vec::len).sum();
    assert_eq!(report.totals.bytes_before, total as u64);
}

#[test]
fn u32_what_is_converted_is_readable_by_its_owner_alone() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    sample.write("notes/read_me.txt", "x");
    sample.convert(SafetensorsSerializer);
    let mut waiting = vec![sample.out()];
    let mut files = 0;
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, if metadata.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if metadata.is_dir() {
            waiting.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files += 1;
        }
    }
    assert!(files >= 3, "only {files} files");
}

#[test]
fn what_the_format_cannot_hold_stays_byte_for_byte_and_is_listed() {
    let mut sample = Sample::new();
    sample.call(CALL, &complex128());
    sample.write(&format!("{CALL}/outputs.pt"), file(&PtSerializer, &floats()));
    assert_eq!(
        sample.deviations(),
        [format!(
            "kept {CALL}/inputs.pt: tensor `arg_0` cannot be kept in a .safetensors file: safetensors has no dtype like \
             torch.complex128"
        )]
    );
    let new = contents(&sample.out());
    assert_eq!(
        new[&Path::new(CALL).join("inputs.pt")],
        contents(&sample.dir())[&Path::new(CALL).join("inputs.pt")]
    );
    assert!(new.contains_key(&Path::new(CALL).join("outputs.safetensors")));
    let records = String::from_utf8(new[Path::new("session.jsonl")].clone()).unwrap();
    assert_eq!(
        records.matches("\"tensor_format\": \"torch\"").count(),
        2,
        "the format of the inputs: {records}"
    );
}

#[test]
fn a_damaged_call_is_copied_as_it_is_and_listed() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    sample.call(OTHER, &floats());
    sample.write(&format!("{CALL}/outputs.pt"), "nothing like it");
    let deviations = sample.deviations();
    assert_eq!(deviations.len(), 1, "{deviations:?}");
    assert!(deviations[0].starts_with(&format!("damaged {CALL}: ")), "{deviations:?}");
    assert!(deviations[0].contains("outputs.pt: not a "), "{deviations:?}");
    let (old, new) = (contents(&sample.dir()), contents(&sample.out()));
    for name in ["inputs.pt", "outputs.pt", "metadata.jsonl"] {
        assert_eq!(new[&Path::new(CALL).join(name)], old[&Path::new(CALL).join(name)], "{name}");
    }
    let records = String::from_utf8(new[Path::new("session.jsonl")].clone()).unwrap();
    assert!(records.starts_with(&(line(CALL, "torch", &floats(), "inputs_saved"))), "{records}");
    assert_eq!(records.matches("\"safetensors\"").count(), 2);
}

#[test]
fn of_a_call_that_is_listed_as_damaged_nothing_is_rewritten() {
    let mut sample = Sample::new();
    let record = line(CALL, "torch", &floats(), "a state of another version");
    sample.call(CALL, &floats());
    sample.write(&format!("{CALL}/metadata.jsonl"), &record);
    sample.write(&format!("{CALL}/graph_flushes/flush_0001/inputs.pt"), file(&PtSerializer, &floats()));
    sample.write("session.jsonl", &record);
    let deviations = sample.deviations();
    assert_eq!(deviations.len(), 1, "{deviations:?}");
    assert!(deviations[0].starts_with(&format!("damaged {CALL}: the execution_status ")), "{deviations:?}");
    assert_eq!(contents(&sample.out()), contents(&sample.dir()));
}

#[test]
fn a_call_without_its_folder_a_link_and_an_empty_folder_keep_their_place() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    sample.call(OTHER, &floats());
    fs::remove_dir_all(sample.dir().join(CALL)).unwrap();
    fs::rename(sample.dir().join(OTHER), sample.dir().join("elsewhere")).unwrap();
    symlink("elsewhere", sample.dir().join(OTHER)).unwrap();
    let empty = "20260101_120000_003_pid7_f_call0003";
    fs::create_dir(sample.dir().join(empty)).unwrap();
    assert_eq!(
        sample.deviations(),
        [
            format!("damaged {CALL}: the folder is missing"),
            format!("damaged {OTHER}: it is a symbolic link, and those are not followed"),
        ]
    );
    assert!(sample.out().join(empty).is_dir());
    assert!(!sample.out().join(CALL).exists() && !sample.out().join(OTHER).exists());
    assert!(sample.out().join("elsewhere/inputs.safetensors").exists(), "a call under another name");
}

#[test]
fn links_and_strange_folders_are_left_out_and_other_files_come_along() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    sample.write(&format!("{CALL}/notes.txt"), "mine");
    sample.write(&format!("{CALL}/.inputs.safetensors.tmp"), "half");
    sample.write(&format!("{CALL}/.metadata.jsonl.tmp"), "half");
    let long = "x".repeat(255);
    sample.write(&format!("{CALL}/{long}"), "");
    sample.write(&format!("{CALL}/folder/file"), "");
    symlink("/etc/passwd", sample.dir().join(CALL).join("outputs.pt")).unwrap();
    sample.write("log.txt", "");
    let report = sample.convert(SafetensorsSerializer);
    let deviations: Vec<_> = report.deviations.iter().map(ToString::to_string).collect();
    assert_eq!(
        deviations,
        [
            format!("{CALL}/folder: a folder that is no part of a call"),
            format!("{CALL}/outputs.pt: a symbolic link, and those are not followed"),
        ]
    );
    assert_eq!(report.beside, ["log.txt"]);
    let hidden = [".inputs.safetensors.tmp", ".metadata.jsonl.tmp"];
    let files = [&hidden[..], &["inputs.safetensors", "metadata.jsonl", "notes.txt", &long]].concat();
    let mut expected: Vec<_> = files.iter().map(|name| format!("{CALL}/{name}")).collect();
    expected.push("session.jsonl".to_owned());
    assert_eq!(names(&sample.out()), expected);
}

#[test]
fn flushes_of_a_captured_call_are_converted_inside_it() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    for (flush, argument) in [("flush_0001", floats()), ("flush_0002", complex128())] {
        let place = format!("{CALL}/graph_flushes/{flush}");
        sample.write(&format!("{place}/inputs.pt"), file(&PtSerializer, &argument));
        let of_its_call = format!("{{\"graph_capture_base_dump_dir\": \"old/place/{CALL}\", ");
        let record = line(&place, "torch", &argument, "completed").replacen('{', &of_its_call, 1);
        sample.write(&format!("{place}/metadata.jsonl"), &record);
        sample.index.push_str(&record);
    }
    sample.write("session.jsonl", &sample.index);
    let deviations = sample.deviations();
    assert_eq!(deviations.len(), 1, "{deviations:?}");
    assert!(
        deviations[0].starts_with(&format!("kept {CALL}/graph_flushes/flush_0002/inputs.pt: ")),
        "{deviations:?}"
    );
    let place = format!("{CALL}/graph_flushes/flush_0001");
    let own = fs::read_to_string(sample.out().join(&place).join("metadata.jsonl")).unwrap();
    assert!(own.contains(&format!("\"dump_dir\": \"{}/{place}\"", sample.out().display())), "{own}");
    assert!(own.contains(&format!("base_dump_dir\": \"{}/{CALL}\"", sample.out().display())), "{own}");
    assert!(own.contains("\"tensor_format\": \"safetensors\""), "{own}");
    assert!(sample.out().join(&place).join("inputs.safetensors").exists());
    let index = fs::read_to_string(sample.out().join("session.jsonl")).unwrap();
    assert!(
        index.ends_with(
            &fs::read_to_string(
                sample.out().join(place.replace("flush_0001", "flush_0002")).join("metadata.jsonl")
            )
            .unwrap()
        )
    );
}

#[test]
fn on_the_way_back_a_tensor_gets_the_strides_of_its_record() {
    let columns = floats().relaid(&[1, 2]).unwrap();
    let mut sample = Sample::new();
    sample.call(CALL, &columns);
    assert_eq!(sample.convert(SafetensorsSerializer).totals.layouts_lost, 1);
    let mut back = Sample::new();
    fs::remove_dir(back.dir()).unwrap();
    fs::rename(sample.out(), back.dir()).unwrap();
    back.index = sample.index.clone();
    assert!(back.convert(PtSerializer).deviations.is_empty());
    let tensor = argument(&PtSerializer, &back.out().join(CALL).join("inputs.pt"));
    assert_eq!(tensor.layout().strides(), [1, 2]);
    assert_eq!(tensor.to_f32().unwrap(), floats().to_f32().unwrap());
}

#[test]
fn marks_are_resolved() {
    let conjugate =
        TensorBuf::from_elements(DType::Complex64, &[1], [1.0f32, 2.0].map(f32::to_le_bytes).concat());
    let conjugate = conjugate.unwrap().with_flags(Flags { conj: true, ..Flags::default() });
    let mut sample = Sample::new();
    sample.call(CALL, &conjugate);
    assert!(sample.deviations().is_empty());
    let tensor = argument(&SafetensorsSerializer, &sample.out().join(CALL).join("inputs.safetensors"));
    assert_eq!(tensor.storage(), [1.0f32, -2.0].map(f32::to_le_bytes).concat());
}

#[test]
fn a_view_is_written_without_the_storage_around_it() {
    let storage = Bytes::from(vec![7; 1 << 20]);
    let view = TensorBuf::new(DType::UInt8, Layout::new(&[4], &[2], 5).unwrap(), storage).unwrap();
    let mut sample = Sample::new();
    sample.call(CALL, &view);
    let report = sample.convert(SafetensorsSerializer);
    assert!(
        report.totals.bytes_before > 1 << 20 && report.totals.bytes_after < 1 << 13,
        "{:?}",
        report.totals
    );
}

#[test]
fn one_call_becomes_a_session_of_one() {
    let mut sample = Sample::new();
    sample.call(OTHER, &floats());
    sample.call(CALL, &floats());
    let report = sample.convert_from(&sample.dir().join(CALL), SafetensorsSerializer).unwrap();
    assert_eq!((report.calls, report.beside.len(), report.deviations.len()), (1, 0, 0));
    let own = fs::read(sample.out().join(CALL).join("metadata.jsonl")).unwrap();
    assert_eq!(fs::read(sample.out().join("session.jsonl")).unwrap(), own);
    assert_eq!(names(&sample.out()).len(), 3);
}

#[test]
fn files_of_one_group_in_both_formats_are_left_to_their_owner() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    sample.write(&format!("{CALL}/inputs.safetensors"), file(&SafetensorsSerializer, &floats()));
    assert_eq!(
        sample.deviations(),
        [format!(
            "kept {CALL}: inputs.pt and inputs.safetensors are both there: which one counts is not decided here"
        )]
    );
    assert_eq!(names(&sample.out().join(CALL)), names(&sample.dir().join(CALL)));
}

#[test]
fn what_is_in_the_format_already_is_copied() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    let report = sample.convert(PtSerializer);
    assert_eq!((report.totals.converted, report.totals.already, report.deviations.len()), (0, 1, 0));
    assert_eq!(
        contents(&sample.out())[&Path::new(CALL).join("inputs.pt")],
        contents(&sample.dir())[&Path::new(CALL).join("inputs.pt")]
    );
}

#[test]
fn nothing_is_touched_where_the_new_session_may_not_lie() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    fs::create_dir(sample.out()).unwrap();
    fs::write(sample.out().join("mine"), "").unwrap();
    let refused = sample.convert_from(&sample.dir(), SafetensorsSerializer);
    assert!(matches!(refused, Err(ConvertError::Target(TargetError::NotEmpty(_)))), "{refused:?}");
    assert_eq!(names(&sample.out()), ["mine"]);
}

/// A format that forgets what it is told to.
#[derive(Debug)]
struct Forgetful;

impl TensorSerializer for Forgetful {
    fn format(&self) -> callbox_core::Format {
        SafetensorsSerializer.format()
    }

    fn plan<'a>(
        &self,
        group: &'a TensorGroup<'a>,
    ) -> Result<callbox_core::FilePlan, callbox_core::FormatError> {
        SafetensorsSerializer.plan(group)
    }

    fn encode<'a>(
        &self,
        group: &'a TensorGroup<'a>,
        out: &'a mut dyn std::io::Write,
    ) -> Result<(), callbox_core::FormatError> {
        let mut file = Vec::new();
        SafetensorsSerializer.encode(group, &mut file)?;
        *file.last_mut().unwrap() ^= 1;
        out.write_all(&file).map_err(callbox_core::FormatError::Write)
    }

    fn recognise(&self, head: &[u8]) -> Result<(), callbox_core::FormatError> {
        SafetensorsSerializer.recognise(head)
    }

    fn decode(&self, bytes: Bytes) -> Result<TensorMap, callbox_core::FormatError> {
        SafetensorsSerializer.decode(bytes)
    }
}

#[test]
fn a_file_that_reads_back_otherwise_is_told_with_its_key() {
    let mut sample = Sample::new();
    sample.call(CALL, &floats());
    let report = sample.convert(Forgetful);
    let deviation = report.deviations[0].to_string();
    assert_eq!(
        (report.deviations[0].kind.name(), deviation),
        ("differs", format!("{CALL}/inputs.safetensors: tensor `arg_0` reads back with other elements"))
    );
}
