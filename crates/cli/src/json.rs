//! What `--json` prints, as types made for it.
//!
//! JSON has no NaN and no infinities: such numbers are the strings `"NaN"`, `"Infinity"`, `"-Infinity"`.

use std::io::{self, Write};

use callbox_core::{DumpedCall, Finding, TensorMeta};
use callbox_isolate::JsonFloat;
use callbox_replay::{Comparison, TensorComparison, Unit};
use serde::Serialize;

/// Writes one object and a line break.
pub(crate) fn print(out: &mut dyn Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, object)?;
    writeln!(out)?;
    out.flush()
}

/// A call as the session's index has it.
#[derive(Debug, Serialize)]
pub(crate) struct CallJson<'a> {
    pub(crate) number: usize,
    pub(crate) dump: &'a str,
    pub(crate) function: &'a str,
    pub(crate) module: &'a str,
    pub(crate) call_sequence: u64,
    pub(crate) timestamp: &'a str,
    pub(crate) process_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<&'a str>,
    pub(crate) state: &'static str,
    pub(crate) suspected_crash: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unstable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flush: Option<u64>,
}

impl<'a> CallJson<'a> {
    pub(crate) fn new(number: usize, call: &'a DumpedCall) -> CallJson<'a> {
        CallJson {
            number,
            dump: &call.folder,
            function: call.function.name(),
            module: call.function.module(),
            call_sequence: call.call_sequence,
            timestamp: &call.timestamp,
            process_id: call.process.process_id,
            host: call.process.origin.as_ref().map(|(host, _)| &**host),
            state: call.state.name(),
            suspected_crash: call.state.is_suspected_crash(),
            unstable: call.is_unstable,
            flush: call.flush,
        }
    }
}

/// Tensors of one group as the index has them.
#[derive(Debug, Serialize)]
pub(crate) struct GroupJson<'a> {
    pub(crate) bytes: u64,
    pub(crate) tensors: Vec<DescribedJson<'a>>,
}

/// A tensor by its description.
#[derive(Debug, Serialize)]
pub(crate) struct DescribedJson<'a> {
    pub(crate) key: &'a str,
    pub(crate) dtype: &'a str,
    pub(crate) shape: &'a [usize],
    pub(crate) stride: &'a [usize],
    pub(crate) device: &'a str,
}

impl<'a> DescribedJson<'a> {
    pub(crate) fn new(key: &'a str, meta: &'a TensorMeta) -> DescribedJson<'a> {
        DescribedJson {
            key,
            dtype: &meta.dtype,
            shape: &meta.shape,
            stride: &meta.strides,
            device: &meta.device,
        }
    }
}

/// A remark about the files.
#[derive(Debug, Serialize)]
pub(crate) struct FindingJson<'a> {
    pub(crate) place: &'a str,
    pub(crate) message: &'a str,
}

/// Turns remarks into what is printed.
pub(crate) fn findings(findings: &[Finding]) -> Vec<FindingJson<'_>> {
    findings.iter().map(|f| FindingJson { place: &f.place, message: &f.message }).collect()
}

/// How a result compares.
#[derive(Debug, Serialize)]
pub(crate) struct ComparisonJson {
    pub(crate) compared: usize,
    pub(crate) tensors: Vec<TensorJson>,
    pub(crate) differences: Vec<DifferenceJson>,
}

/// How one tensor compares.
#[derive(Debug, Serialize)]
pub(crate) struct TensorJson {
    pub(crate) result: String,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) unit: &'static str,
    pub(crate) compared: usize,
    pub(crate) differing: usize,
    pub(crate) forgiven: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rtol: Option<JsonFloat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) atol: Option<JsonFloat>,
    pub(crate) max_abs: JsonFloat,
    pub(crate) max_rel: JsonFloat,
    pub(crate) cosine: Option<JsonFloat>,
    pub(crate) worst: Option<WorstJson>,
}

/// One element with both its values.
#[derive(Debug, Serialize)]
pub(crate) struct WorstJson {
    pub(crate) index: Vec<usize>,
    pub(crate) expected: JsonFloat,
    pub(crate) actual: JsonFloat,
}

/// A difference that is not one of elements.
#[derive(Debug, Serialize)]
pub(crate) struct DifferenceJson {
    pub(crate) result: String,
    pub(crate) expected: String,
    pub(crate) actual: String,
}

impl From<&Comparison> for ComparisonJson {
    fn from(comparison: &Comparison) -> ComparisonJson {
        let difference = |d: &callbox_replay::Difference| DifferenceJson {
            result: d.place.clone(),
            expected: d.expected.clone(),
            actual: d.actual.clone(),
        };
        ComparisonJson {
            compared: comparison.compared,
            tensors: comparison.tensors.iter().map(TensorJson::from).collect(),
            differences: comparison.differences.iter().map(difference).collect(),
        }
    }
}

impl From<&TensorComparison> for TensorJson {
    fn from(tensor: &TensorComparison) -> TensorJson {
        TensorJson {
            result: tensor.place.clone(),
            dtype: tensor.dtype.to_string(),
            shape: tensor.shape.clone(),
            unit: match tensor.unit {
                Unit::Elements => "elements",
                Unit::Codes => "e2m1 codes",
            },
            compared: tensor.compared,
            differing: tensor.differing,
            forgiven: tensor.forgiven,
            rtol: tensor.tolerance.map(|t| JsonFloat(t.rtol)),
            atol: tensor.tolerance.map(|t| JsonFloat(t.atol)),
            max_abs: JsonFloat(tensor.max_abs),
            max_rel: JsonFloat(tensor.max_rel),
            cosine: tensor.cosine.map(JsonFloat),
            worst: tensor.worst.as_ref().map(|worst| WorstJson {
                index: worst.index.clone(),
                expected: JsonFloat(worst.expected),
                actual: JsonFloat(worst.actual),
            }),
        }
    }
}
