//! Every kind of value that FlashInfer's recorder met comes back as what it was.
//!
//! The zoo's function `echo` returns its argument and `echo_many` returns its arguments as a tuple. An executor
//! that does the same gives the recorded result exactly if the arguments were rebuilt exactly.

use std::path::Path;
use std::sync::Arc;

use callbox_core::{
    Arguments, Contract, Device, DumpSource, ExecError, Executor, FunctionName, Instance, OwnedValue, Value,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_replay::{Objects, ReplayOptions, Verdict, replay_from_dump};
use callbox_sink_fs::{FsSource, ReadMode, ReadOptions};
use callbox_tests::corpus;

#[derive(Debug)]
struct Echo;

impl Executor for Echo {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn contract(&self, function: &FunctionName) -> Option<Contract> {
        matches!(function.name(), "echo" | "echo_many").then(Contract::default)
    }

    fn call(&mut self, function: &FunctionName, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        let mut values = std::mem::take(&mut arguments.positional);
        match function.name() {
            "echo" => values.pop().ok_or_else(|| ExecError::MissingArgument("x".to_owned())),
            _ => Ok(Value::tuple(values)),
        }
    }

    fn construct(&mut self, name: &FunctionName, _: &mut Arguments) -> Result<Box<dyn Instance>, ExecError> {
        Err(ExecError::NoExecutor(name.clone()))
    }
}

/// The case's name by the folder of its call.
fn cases(dir: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(dir.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&text).unwrap();
    let folders = |case: &serde_json::Value| -> Vec<String> {
        let dirs = case["new_dirs"].as_array().into_iter().flatten();
        dirs.map(|dir| dir.as_str().unwrap().to_owned()).collect()
    };
    let cases = index.as_array().unwrap().iter();
    cases
        .flat_map(|case| {
            let name = case["case"].as_str().unwrap_or_default().to_owned();
            folders(case).into_iter().map(move |folder| (folder, name.clone()))
        })
        .collect()
}

/// What a case gives, where it is not a pass.
fn expected(case: &str) -> &'static str {
    match case {
        // Only the text of these was recorded.
        "deque (not a list)"
        | "set"
        | "value complex"
        | "value complex nan"
        | "value bytes"
        | "value bytearray"
        | "value torch.device"
        | "value torch.device idx"
        | "value torch.layout"
        | "value memory_format"
        | "value generator"
        | "value numpy f32"
        | "value numpy i64"
        | "value numpy bool"
        | "value numpy array"
        | "value custom object"
        | "value object whose repr fails"
        | "value type"
        | "value function"
        | "value slice"
        | "value range"
        | "value Ellipsis"
        | "value FP4Tensor" => "nothing compared",
        "nest depth 9" | "nest depth 10" | "value nest depth 9" => "error",
        // No elements, or a class of the application's own.
        "sparse coo" | "meta device" => "error",
        "tensor subclass" => "damaged",
        _ => "passed",
    }
}

fn check(format: &str) {
    let Some(corpus) = corpus(&format!("the zoo of values in {format} files")) else { return };
    let zoo = corpus.join("zoo").join(format);
    check_dumps(&zoo.join("dumps"), &zoo, format);
}

/// Replays the dumps of a zoo that was recorded in `format`.
pub(crate) fn check_dumps(dumps: &Path, zoo: &Path, format: &str) {
    let formats = vec![Arc::new(PtSerializer) as _, Arc::new(SafetensorsSerializer) as _];
    let source = FsSource::open(dumps, formats, ReadOptions { mode: ReadMode::Buffered }).unwrap();
    let session = source.calls().unwrap();
    let cases = cases(zoo);
    let mut passed = 0;
    for call in &session.calls {
        let echo = Echo.contract(&call.function).is_some();
        if !echo || call.state != callbox_core::CallState::Completed {
            continue;
        }
        let (_, case) = cases.iter().find(|(folder, _)| *folder == call.folder).unwrap();
        let replayed =
            replay_from_dump(&source, call, &mut Echo, &mut Objects::default(), &ReplayOptions::default());
        let verdict = match &replayed.verdict {
            Verdict::Passed => "passed",
            Verdict::NothingCompared => "nothing compared",
            Verdict::Failed { .. } => "error",
            Verdict::Damaged { .. } => "damaged",
            Verdict::Mismatch
            | Verdict::Died { .. }
            | Verdict::Incomplete { .. }
            | Verdict::Skipped { .. } => "other",
        };
        // In safetensors a tensor of a subclass is a tensor.
        let expected = match (format, case.as_str()) {
            ("st", "tensor subclass") => "passed",
            (_, case) => expected(case),
        };
        assert_eq!(verdict, expected, "{case}: {} {:?}", replayed.verdict, replayed.comparison);
        passed += usize::from(replayed.verdict == Verdict::Passed);
    }
    println!("zoo/{format}: {passed} of {} calls give back what they were given", session.calls.len());
    assert!(passed > 90, "only {passed}");
}

#[test]
fn values_in_pt_files_come_back_as_what_they_were() {
    check("pt");
}

#[test]
fn values_in_safetensors_files_come_back_as_what_they_were() {
    check("st");
}
