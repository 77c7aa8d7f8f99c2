//! A call's record from its line of JSON.

use callbox_core::{
    CallRecord, ExecutionStatus, FileHash, FunctionName, GraphFlush, MetaValue, Origin, RecordedError,
    RecordedFile, TensorInfo, TensorMeta, Text,
};

use crate::fields::Fields;
pub(crate) use crate::fields::RecordError;
use crate::json::Json;
use crate::value::{read_tensor, read_value};

/// Reads a record. Keys that we do not know are ignored; all but the function's name and the status may be
/// absent, since older and newer recorders differ in the rest.
pub(crate) fn read_record(json: &Json) -> Result<CallRecord, RecordError> {
    let fields = Fields::of(json, "record")?;
    let name = fields.required_string("function_name")?;
    let status = fields.required_string("execution_status")?;
    Ok(CallRecord {
        function: FunctionName::new(fields.string("module")?.unwrap_or_default(), name),
        call_sequence: fields.unsigned("call_sequence")?.unwrap_or_default(),
        timestamp: fields.string("timestamp")?.unwrap_or_default(),
        process_id: fields.unsigned("process_id")?.unwrap_or_default(),
        input_metadata: read_values(fields, "input_metadata")?,
        output_metadata: read_values(fields, "output_metadata")?,
        tensor_info: read_tensor_info(fields)?,
        tensor_details: match fields.any("tensor_details") {
            Some(details) => read_tensor_details(details)?,
            None => Vec::new(),
        },
        tensor_format: fields.string("tensor_format")?.unwrap_or_else(|| "torch".to_owned()),
        function_signature: fields.string("function_signature")?.unwrap_or_default(),
        versions: read_versions(fields)?,
        status: ExecutionStatus::from_name(&status),
        graph_capture: fields.bool("graph_capture")?.unwrap_or_default(),
        graph_flush: read_flush(fields)?,
        self_id: fields.unsigned("self_id")?,
        dump_dir: fields.string("dump_dir")?.unwrap_or_default(),
        origin: fields.object("callbox")?.map(read_origin).transpose()?.flatten(),
        error: fields.object("error")?.map(read_error).transpose()?,
        reason: fields.string("reason")?,
        files: match fields.object("tensor_files")? {
            Some(files) => read_files(files)?,
            None => Vec::new(),
        },
    })
}

/// Reads the description of each tensor by its key.
pub(crate) fn read_tensor_details(json: &Json) -> Result<Vec<(String, TensorMeta)>, RecordError> {
    let details = Fields::of(json, "tensor_details")?.entries();
    let detail = |(key, value): &(Text, Json)| {
        let key = key.to_string();
        let tensor = read_tensor(Fields::of(value, &key)?)?;
        Ok((key, tensor))
    };
    details.iter().map(detail).collect()
}

fn read_values(fields: Fields<'_>, name: &str) -> Result<Vec<(String, MetaValue)>, RecordError> {
    let Some(values) = fields.object(name)? else {
        return Ok(Vec::new());
    };
    values.entries().iter().map(|(key, value)| Ok((key.to_string(), read_value(value)?))).collect()
}

fn read_tensor_info(fields: Fields<'_>) -> Result<TensorInfo, RecordError> {
    let Some(info) = fields.object("tensor_info")? else {
        return Ok(TensorInfo::default());
    };
    Ok(TensorInfo {
        input_keys: info.strings("input_tensor_keys")?,
        output_keys: info.strings("output_tensor_keys")?,
        input_bytes: info.unsigned("input_size_bytes")?.unwrap_or_default(),
        output_bytes: info.unsigned("output_size_bytes")?,
        args_after_keys: info.strings("args_after_tensor_keys")?,
    })
}

fn read_versions(fields: Fields<'_>) -> Result<Vec<(String, String)>, RecordError> {
    let Some(versions) = fields.object("versions")? else {
        return Ok(Vec::new());
    };
    let version = |(library, version): &(Text, Json)| {
        let version = match version {
            Json::Text(text) => text.to_string(),
            other => other.to_strict_string(),
        };
        (library.to_string(), version)
    };
    Ok(versions.entries().iter().map(version).collect())
}

fn read_flush(fields: Fields<'_>) -> Result<Option<GraphFlush>, RecordError> {
    let index = fields.unsigned("graph_capture_flush_index")?;
    let snapshot_dir = fields.string("graph_capture_snapshot_dir")?.unwrap_or_default();
    let base_dir = fields.string("graph_capture_base_dump_dir")?;
    Ok(index.map(|index| GraphFlush { index, snapshot_dir, base_dir }))
}

fn read_origin(fields: Fields<'_>) -> Result<Option<Origin>, RecordError> {
    let format = fields.unsigned("format")?.unwrap_or_default();
    let format = u32::try_from(format).unwrap_or(u32::MAX);
    let host_and_process = fields.string("host")?.zip(fields.string("process")?);
    Ok(host_and_process.map(|(host, process)| Origin { format, host: host.into(), process: process.into() }))
}

/// Says what a reader should know of a record's `callbox` key: that it is of a newer layout, or ignored.
pub(crate) fn origin_remark(json: &Json, record: &CallRecord) -> Option<String> {
    let callbox = Fields::of(json, "record").ok()?.object("callbox").ok()??;
    let format = callbox.unsigned("format").ok()?.unwrap_or_default();
    if format > u64::from(Origin::FORMAT) {
        return Some(format!(
            "written by a newer recorder (format {format}); this version knows {}",
            Origin::FORMAT
        ));
    }
    record.origin.is_none().then(|| "`callbox` lacks `host` or `process`; it is ignored".to_owned())
}

fn read_error(fields: Fields<'_>) -> Result<RecordedError, RecordError> {
    Ok(RecordedError {
        kind: fields.string("kind")?.unwrap_or_default(),
        type_name: fields.string("type")?.unwrap_or_default(),
        text: fields.string("text")?.unwrap_or_default(),
    })
}

/// Reads what is known of each file of tensors by its name.
pub(crate) fn read_files(files: Fields<'_>) -> Result<Vec<RecordedFile>, RecordError> {
    let file = |(name, value): &(Text, Json)| {
        let name = name.to_string();
        let fields = Fields::of(value, &name)?;
        let hash = fields.string("hash")?;
        let hash = hash.as_deref().and_then(|hash| hash.split_once(':'));
        Ok(RecordedFile {
            bytes: fields.unsigned("bytes")?.ok_or_else(|| RecordError::missing("bytes"))?,
            hash: hash
                .map(|(kind, digits)| FileHash { kind: kind.to_owned().into(), digits: digits.to_owned() }),
            is_unstable: fields.bool("unstable")?.unwrap_or_default(),
            name,
        })
    };
    files.entries().iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use callbox_core::Value;

    use super::*;
    use crate::json;

    fn read(text: &str) -> Result<CallRecord, RecordError> {
        read_record(&json::parse(text.as_bytes()).unwrap())
    }

    const UPSTREAM: &str = r#"{"function_name": "Wrapper.run", "module": "flashinfer.decode", "call_sequence": 2,
        "timestamp": "20261124_190322_551", "process_id": 24328,
        "input_metadata": {"arg_0": {"type": "Wrapper", "repr": "<Wrapper object at 0x7f>"}, "kwarg_eps": NaN},
        "output_metadata": {"result": null},
        "tensor_info": {"input_tensor_keys": ["arg_1"], "output_tensor_keys": ["result"], "input_size_bytes": 32,
            "input_size_mb": 3.0517578125e-05, "output_size_bytes": 16, "output_size_mb": 1.5e-05},
        "tensor_details": {"arg_1": {"shape": [4, 4], "dtype": "torch.float16", "stride": [4, 1], "device": "cuda:0"}},
        "tensor_format": "safetensors", "function_signature": "(self, x)", "versions": {"torch": "2.15.0", "flashinfer": "0.7"},
        "execution_status": "completed", "graph_capture": true, "self_id": 140528012345680, "dump_dir": "dumps/x",
        "graph_capture_flush_index": 1, "from a newer version": {}}"#;

    #[test]
    fn an_upstream_record_is_read_whole() {
        let record = read(UPSTREAM).unwrap();
        assert_eq!(record.function, FunctionName::new("flashinfer.decode", "Wrapper.run"));
        assert_eq!((record.call_sequence, record.process_id), (2, 24328));
        assert_eq!(record.timestamp, "20261124_190322_551");
        assert_eq!(record.input_metadata.len(), 2);
        assert_eq!(record.output_metadata, [("result".to_owned(), Value::None)]);
        assert_eq!(record.tensor_info.input_keys, ["arg_1"]);
        assert_eq!((record.tensor_info.input_bytes, record.tensor_info.output_bytes), (32, Some(16)));
        assert_eq!(record.tensor_details[0].1.shape, [4, 4]);
        assert_eq!(record.tensor_format, "safetensors");
        assert_eq!(record.versions[1], ("flashinfer".to_owned(), "0.7".to_owned()));
        assert_eq!(record.status, ExecutionStatus::Completed);
        assert_eq!((record.graph_capture, record.self_id), (true, Some(140_528_012_345_680)));
        let flush = GraphFlush { index: 1, snapshot_dir: String::new(), base_dir: None };
        assert_eq!(record.graph_flush, Some(flush));
        assert_eq!((record.origin, record.error, record.reason), (None, None, None));
    }

    #[test]
    fn our_own_keys_are_read() {
        let record = read(
            r#"{"function_name": "f", "execution_status": "failed", "reason": "no space",
            "callbox": {"format": 1, "host": "node7", "process": "9f86d081884c7d65"},
            "error": {"kind": "panic", "type": "String", "text": "out of range"},
            "tensor_info": {"args_after_tensor_keys": ["arg_0"]}}"#,
        )
        .unwrap();
        let origin = record.origin.unwrap();
        assert_eq!((origin.format, &*origin.host, &*origin.process), (1, "node7", "9f86d081884c7d65"));
        assert_eq!(record.error.unwrap().kind, "panic");
        assert_eq!(record.reason.as_deref(), Some("no space"));
        assert_eq!(record.tensor_info.args_after_keys, ["arg_0"]);
        assert_eq!(record.status, ExecutionStatus::Failed);
    }

    #[test]
    fn only_the_name_and_the_status_are_required() {
        let record =
            read(r#"{"function_name": "f", "execution_status": "completed", "self_id": null}"#).unwrap();
        assert_eq!(
            (record.tensor_format.as_str(), record.graph_capture, record.self_id),
            ("torch", false, None)
        );
        for (text, error) in [
            (r#"{"function_name": "f"}"#, "there is no `execution_status`"),
            (r#"{"execution_status": "completed"}"#, "there is no `function_name`"),
            ("[]", "`record` is an array, expected an object"),
            (
                r#"{"function_name": "f", "execution_status": "completed", "call_sequence": "x"}"#,
                "`call_sequence` is a string, expected an unsigned integer",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), error);
        }
    }
}
