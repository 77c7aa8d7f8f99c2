//! A call as a machine reads it.

use std::borrow::Cow;
use std::io::{self, Write};

use callbox_core::error::chain;
use callbox_core::{Flags, LoadedTensor, TensorBuf};
use callbox_sink_fs::FsSource;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Loaded, Shown};
use crate::args::ShowArgs;
use crate::json::{self, ComparisonJson, FindingJson};

#[derive(Serialize)]
struct ShownJson<'a> {
    dump: &'a str,
    function: &'a str,
    module: &'a str,
    status: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    metadata: Option<Box<RawValue>>,
    inputs: Vec<TensorJson<'a>>,
    outputs: Vec<TensorJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args_after: Vec<TensorJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<ReplayJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingJson<'a>>,
}

#[derive(Serialize)]
struct ReplayJson<'a> {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<ComparisonJson>,
}

#[derive(Serialize)]
struct TensorJson<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<&'a [usize]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stride: Option<&'a [usize]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_offset: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_grad: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints the object.
pub(super) fn print(
    out: &mut dyn Write,
    source: &FsSource,
    shown: &Shown<'_>,
    arguments: &ShowArgs,
) -> io::Result<()> {
    let call = shown.call;
    let record = shown.record.as_ref().ok().map(|loaded| &loaded.record);
    let keys =
        |of: fn(&callbox_core::TensorInfo) -> &[String]| record.map_or(&[][..], |r| of(&r.tensor_info));
    let metadata = source.metadata_json(call).ok().map(|json| json.to_strict_string());
    let metadata = metadata.map(RawValue::from_string).transpose()?;
    let findings = shown.findings();
    let object = ShownJson {
        dump: &call.folder,
        function: call.function.name(),
        module: call.function.module(),
        status: record.map_or(call.state.name(), |record| record.status.as_str()),
        state: call.state.name(),
        reason: shown.record.as_ref().err().map(|error| chain(error)),
        metadata,
        inputs: tensors(keys(|info| &info.input_keys), &shown.inputs, arguments.hash),
        outputs: tensors(keys(|info| &info.output_keys), &shown.outputs, arguments.hash),
        args_after: tensors(keys(|info| &info.args_after_keys), &shown.args_after, arguments.hash),
        replay: shown.replayed.as_ref().map(|replayed| ReplayJson {
            verdict: replayed.verdict.name(),
            reason: replayed.verdict.reason(),
            comparison: replayed.comparison.as_ref().map(ComparisonJson::from),
        }),
        findings: json::findings(&findings),
    };
    json::print(out, &object)
}

fn tensors<'a>(keys: &'a [String], loaded: &'a Loaded, hash: bool) -> Vec<TensorJson<'a>> {
    keys.iter()
        .map(|key| match loaded {
            Ok(tensors) => match tensors.get(key) {
                Some(LoadedTensor::Whole(tensor)) => whole(key, tensor, hash),
                Some(LoadedTensor::WithoutElements { dtype, shape, reason }) => TensorJson {
                    dtype: Some(dtype.to_string()),
                    shape: Some(shape),
                    ..failed(key, reason.clone())
                },
                None => failed(key, "not in the file".to_owned()),
            },
            Err(error) => failed(key, error.clone()),
        })
        .collect()
}

fn failed(key: &str, error: String) -> TensorJson<'_> {
    TensorJson {
        key,
        dtype: None,
        shape: None,
        stride: None,
        storage_offset: None,
        requires_grad: None,
        sha256: None,
        error: Some(error),
    }
}

fn whole<'a>(key: &'a str, tensor: &'a TensorBuf, hash: bool) -> TensorJson<'a> {
    let Flags { requires_grad, conj: _, neg: _ } = tensor.flags();
    let sha256 = hash.then(|| sha256(tensor)).transpose();
    TensorJson {
        key,
        dtype: Some(tensor.dtype().to_string()),
        shape: Some(tensor.shape()),
        stride: Some(tensor.layout().strides()),
        storage_offset: Some(tensor.layout().offset()),
        requires_grad: Some(requires_grad),
        error: sha256.as_ref().err().cloned(),
        sha256: sha256.unwrap_or_default(),
    }
}

/// Hashes the logical elements: row-major, little endian, conjugate and negative marks applied.
pub(super) fn sha256(tensor: &TensorBuf) -> Result<String, String> {
    tensor.check_expansion().map_err(|error| error.to_string())?;
    let mut hash = Sha256::new();
    tensor.for_each_piece(&mut |piece| hash.update(piece));
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
