//! Sessions for measuring, written as FlashInfer writes them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use callbox_core::{FunctionName, TensorBuf, TensorGroup, TensorSerializer};
use callbox_format_pt::PtSerializer;
use serde_json::{Map, Value, json};

/// A completed call to record.
pub(crate) struct Call {
    /// Module and name.
    pub(crate) function: FunctionName,
    /// The object whose method it is.
    pub(crate) self_id: u64,
    /// Argument tensors by key.
    pub(crate) inputs: Vec<(&'static str, TensorBuf)>,
    /// Other arguments by key.
    pub(crate) input_metadata: Value,
    /// Result tensors by key.
    pub(crate) outputs: Vec<(&'static str, TensorBuf)>,
    /// Other results by key.
    pub(crate) output_metadata: Value,
}

/// Appends a call to the session in `root`: its folder, its files, its lines.
pub(crate) fn record(root: &Path, call: &Call) -> anyhow::Result<()> {
    let name = call.function.name();
    let timestamp = "20260101_000000_000";
    let folder = format!("{timestamp}_pid1_{name}_call0001");
    fs::create_dir(root.join(&folder))?;
    for (stem, tensors) in [("inputs", &call.inputs), ("outputs", &call.outputs)] {
        if !tensors.is_empty() {
            write_group(&root.join(&folder), stem, tensors, &PtSerializer)?;
        }
    }
    let mut line = json!({
        "function_name": name,
        "module": call.function.module(),
        "call_sequence": 1,
        "timestamp": timestamp,
        "process_id": 1,
        "input_metadata": call.input_metadata,
        "output_metadata": call.output_metadata,
        "tensor_info": {
            "input_tensor_keys": keys(&call.inputs),
            "output_tensor_keys": keys(&call.outputs),
            "input_size_bytes": size(&call.inputs),
            "output_size_bytes": size(&call.outputs),
        },
        "tensor_details": details(call),
        "tensor_format": PtSerializer.format().name,
        "execution_status": "inputs_saved",
        "graph_capture": false,
        "self_id": call.self_id,
        "dump_dir": folder,
    });
    for status in ["inputs_saved", "completed"] {
        line["execution_status"] = status.into();
        for file in [root.join("session.jsonl"), root.join(&folder).join("metadata.jsonl")] {
            writeln!(OpenOptions::new().append(true).create(true).open(file)?, "{line}")?;
        }
    }
    Ok(())
}

/// Writes a file of tensors and returns its path.
pub(crate) fn write_group(
    folder: &Path,
    stem: &str,
    tensors: &[(&'static str, TensorBuf)],
    format: &dyn TensorSerializer,
) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{stem}.{}", format.format().extension));
    let group =
        TensorGroup { stem, tensors: tensors.iter().map(|(key, tensor)| (*key, tensor.as_view())).collect() };
    format
        .encode(&group, &mut File::create(&path)?)
        .with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

fn keys(tensors: &[(&'static str, TensorBuf)]) -> Vec<&'static str> {
    tensors.iter().map(|(key, _)| *key).collect()
}

fn size(tensors: &[(&'static str, TensorBuf)]) -> usize {
    tensors.iter().map(|(_, tensor)| tensor.storage().len()).sum()
}

fn details(call: &Call) -> Map<String, Value> {
    let describe = |(key, tensor): &(&str, TensorBuf)| {
        let meta = tensor.to_meta();
        let value = json!({
            "shape": meta.shape,
            "dtype": meta.dtype,
            "stride": meta.strides,
            "device": meta.device,
        });
        ((*key).to_owned(), value)
    };
    call.inputs.iter().chain(&call.outputs).map(describe).collect()
}
