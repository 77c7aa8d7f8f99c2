//! Writing tensors of several sizes, and whole calls that are too small for anything but the writing to count.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{
    CallRecord, DType, DumpSink, DumpSlot, ExecutionStatus, FunctionName, Group, Origin, SlotName, TensorBuf,
    TensorGroup, TensorInfo, TensorSerializer,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{Durability, FsSink, Hashing, SinkOptions};

use crate::harness::{Measurement, Target, Variant, race};

/// One size to measure.
struct Case {
    name: &'static str,
    bytes: usize,
    /// Files of a round: a single small one is over before a clock has ticked often.
    files: usize,
    rounds: usize,
    target: Option<Target>,
}

const CASES: [Case; 4] = [
    Case { name: "1 KiB x 100", bytes: 1 << 10, files: 100, rounds: 30, target: None },
    Case { name: "1 MiB", bytes: 1 << 20, files: 1, rounds: 100, target: Some(Target::Ratio(0.8)) },
    Case { name: "64 MiB", bytes: 64 << 20, files: 1, rounds: 15, target: Some(Target::Ratio(0.85)) },
    Case { name: "512 MiB", bytes: 512 << 20, files: 1, rounds: 5, target: Some(Target::Ratio(0.85)) },
];
const TINY_CALLS: usize = 100;
const TINY_ROUNDS: usize = 30;

/// Measures each size in both formats, then tiny calls.
pub(crate) fn measure() -> anyhow::Result<Vec<Measurement>> {
    let mut measurements = Vec::new();
    for case in CASES {
        measurements.extend(measure_case(&case)?);
    }
    measurements.extend(measure_tiny_calls()?);
    Ok(measurements)
}

fn measure_case(case: &Case) -> anyhow::Result<Vec<Measurement>> {
    let folder = tempfile::tempdir()?;
    let elements: Vec<u8> = (0..case.bytes).map(|byte| (byte % 251) as u8).collect();
    let tensor = TensorBuf::from_elements(DType::Float32, &[case.bytes / 4], elements)?;
    let tensor = &tensor;
    let (pt, safetensors) = (sink(folder.path(), PtSerializer), sink(folder.path(), SafetensorsSerializer));
    let (mut pt_slots, mut safetensors_slots) = (slots(&pt, case.files)?, slots(&safetensors, case.files)?);
    let paths = |name: &str| in_folders(&pt_slots, name);
    let (plain_paths, pt_paths) = (paths("plain"), paths("inputs.pt"));
    let safetensors_paths = in_folders(&safetensors_slots, "inputs.safetensors");
    let Case { name, bytes, files, rounds, target } = case;
    let put = |what, run| {
        let variant = Variant::new(format!("{what}, {name}"), run);
        match target {
            Some(target) => variant.with_target(*target),
            None => variant,
        }
    };
    let mut write_pt = || put_each(&pt, &mut pt_slots, tensor);
    let mut write_safetensors = || put_each(&safetensors, &mut safetensors_slots, tensor);
    race(
        *rounds,
        Some((bytes * files) as u64),
        vec![
            Variant::new(format!("plain write, {name}"), || {
                plain_paths
                    .iter()
                    .try_for_each(|path| Ok(File::create_new(path)?.write_all(tensor.storage())?))
            })
            .cleared_by(|| remove(&plain_paths)),
            put(".pt", &mut write_pt as &mut dyn FnMut() -> _).cleared_by(|| remove(&pt_paths)),
            put(".safetensors", &mut write_safetensors).cleared_by(|| remove(&safetensors_paths)),
        ],
    )
}

fn sink(root: &Path, format: impl TensorSerializer + 'static) -> FsSink {
    FsSink::new(SinkOptions {
        root: root.to_owned(),
        format: Arc::new(format),
        fallback: None,
        durability: Durability::Process,
        hashing: Hashing::Xxh3,
    })
}

fn slot_name(call_sequence: u64) -> SlotName {
    let timestamp = "20260101_000000_000".to_owned();
    SlotName { timestamp, process_id: 1, function: "bmm_fp8".to_owned(), call_sequence }
}

fn slots(sink: &FsSink, count: usize) -> anyhow::Result<Vec<Box<dyn DumpSlot>>> {
    (0..count as u64).map(|number| Ok(sink.open(&slot_name(number))?)).collect()
}

fn in_folders(slots: &[Box<dyn DumpSlot>], name: &str) -> Vec<PathBuf> {
    slots.iter().map(|slot| Path::new(slot.location()).join(name)).collect()
}

fn put_each(sink: &FsSink, slots: &mut [Box<dyn DumpSlot>], tensor: &TensorBuf) -> anyhow::Result<()> {
    slots.iter_mut().try_for_each(|slot| put(sink, &mut **slot, Group::Inputs, tensor))
}

fn put(sink: &FsSink, slot: &mut dyn DumpSlot, group: Group, tensor: &TensorBuf) -> anyhow::Result<()> {
    let tensors = TensorGroup { stem: group.stem(), tensors: vec![("arg_0", tensor.as_view())] };
    slot.put(group, &tensors, &sink.plan(&tensors)?)?;
    Ok(())
}

fn remove(paths: &[PathBuf]) -> anyhow::Result<()> {
    paths.iter().try_for_each(|path| Ok(fs::remove_file(path)?))
}

fn measure_tiny_calls() -> anyhow::Result<Vec<Measurement>> {
    let folder = tempfile::tempdir()?;
    let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
    let tensor = TensorBuf::from_elements(DType::Float32, &[256], vec![1; 1 << 10])?;
    let sink = sink(&ours, PtSerializer);
    let line = sink.encode(&record(&tensor, 1, ExecutionStatus::Completed))?;
    race(
        TINY_ROUNDS,
        None,
        vec![
            Variant::new(format!("{TINY_CALLS} tiny calls, plain"), || {
                (0..TINY_CALLS)
                    .try_for_each(|call| plain_call(&plain.join(call.to_string()), &tensor, line.as_bytes()))
            })
            .cleared_by(|| Ok(fs::remove_dir_all(&plain)?)),
            Variant::new(format!("{TINY_CALLS} tiny calls"), || {
                (0..TINY_CALLS as u64).try_for_each(|call| tiny_call(&sink, &tensor, call))
            })
            .cleared_by(|| Ok(fs::remove_dir_all(&ours)?)),
        ],
    )
}

/// Makes the files of a tiny call, with as many bytes in them.
fn plain_call(folder: &Path, tensor: &TensorBuf, line: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let append = |path: &Path| OpenOptions::new().append(true).create(true).open(path);
    let mut session = append(&folder.with_file_name("session.jsonl"))?;
    let mut metadata = append(&folder.join("metadata.jsonl"))?;
    for group in ["inputs", "outputs"] {
        File::create_new(folder.join(group))?.write_all(tensor.storage())?;
        metadata.write_all(line)?;
        session.write_all(line)?;
    }
    Ok(())
}

fn tiny_call(sink: &FsSink, tensor: &TensorBuf, call: u64) -> anyhow::Result<()> {
    let mut slot = sink.open(&slot_name(call))?;
    for (group, status) in
        [(Group::Inputs, ExecutionStatus::InputsSaved), (Group::Outputs, ExecutionStatus::Completed)]
    {
        put(sink, &mut *slot, group, tensor)?;
        let line = sink
            .encode(&CallRecord { dump_dir: slot.location().to_owned(), ..record(tensor, call, status) })?;
        slot.append(&line)?;
        sink.log(&line)?;
    }
    Ok(())
}

fn record(tensor: &TensorBuf, call_sequence: u64, status: ExecutionStatus) -> CallRecord {
    let keys = vec!["arg_0".to_owned()];
    let SlotName { timestamp, process_id, function, .. } = slot_name(call_sequence);
    CallRecord {
        function: FunctionName::new("flashinfer.gemm", function),
        call_sequence,
        timestamp,
        process_id,
        input_metadata: Vec::new(),
        output_metadata: Vec::new(),
        tensor_info: TensorInfo { input_keys: keys, input_bytes: 1 << 10, ..TensorInfo::default() },
        tensor_details: vec![("arg_0".to_owned(), tensor.to_meta())],
        tensor_format: "torch".to_owned(),
        function_signature: "(A: torch.Tensor, B: torch.Tensor, dtype: torch.dtype) -> torch.Tensor"
            .to_owned(),
        versions: vec![("callbox".to_owned(), "0.1.0".to_owned())],
        status,
        graph_capture: false,
        graph_flush: None,
        self_id: None,
        dump_dir: String::new(),
        origin: Some(Origin { format: 1, host: "host".into(), process: "0123456789abcdef".into() }),
        error: None,
        reason: None,
        files: Vec::new(),
    }
}
