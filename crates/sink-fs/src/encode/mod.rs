//! A record as the line that goes to `metadata.jsonl` and `session.jsonl`.
//!
//! FlashInfer's readers, and scripts around them, see what Python's `json.dumps` would have written: its keys in
//! its order, its separators, its numbers. Our own keys follow behind, where those readers do not look.

mod value;

use callbox_core::{
    CallRecord, GraphFlush, Line, MetaValue, Origin, RecordedError, RecordedFile, TensorInfo, TensorMeta,
};

use crate::hash::seal;
use crate::json::{
    Dialect, Entries, push_array, push_bool, push_float, push_object, push_str, push_unsigned,
};
use value::{push_meta, push_value};

/// Spells the line in one pass.
pub(crate) fn line(record: &CallRecord) -> Line {
    ended(spelled(record))
}

/// Spells the line, with its own hash at its end.
pub(crate) fn sealed_line(record: &CallRecord) -> Line {
    let mut line = spelled(record);
    seal(&mut line);
    ended(line)
}

fn spelled(record: &CallRecord) -> String {
    // Most lines fit: growing would copy.
    let mut out = String::with_capacity(4096);
    push_record(&mut out, record);
    out
}

fn ended(mut line: String) -> Line {
    line.push('\n');
    Line::new(line.into_bytes())
}

/// Writes an object as Python does.
fn object(out: &mut String, write: impl FnOnce(&mut Entries<'_>)) {
    push_object(out, Dialect::Python, write);
}

fn string(out: &mut String, text: &str) {
    push_str(out, text, Dialect::Python);
}

fn push_record(out: &mut String, record: &CallRecord) {
    object(out, |fields| {
        string(fields.key("function_name"), record.function.name());
        string(fields.key("module"), record.function.module());
        push_unsigned(fields.key("call_sequence"), record.call_sequence);
        string(fields.key("timestamp"), &record.timestamp);
        push_unsigned(fields.key("process_id"), record.process_id);
        push_values(fields.key("input_metadata"), &record.input_metadata);
        push_values(fields.key("output_metadata"), &record.output_metadata);
        push_tensor_info(fields.key("tensor_info"), &record.tensor_info);
        push_tensor_details(fields.key("tensor_details"), &record.tensor_details);
        string(fields.key("tensor_format"), &record.tensor_format);
        string(fields.key("function_signature"), &record.function_signature);
        push_versions(fields.key("versions"), &record.versions);
        string(fields.key("execution_status"), record.status.as_str());
        push_bool(fields.key("graph_capture"), record.graph_capture);
        if let Some(self_id) = record.self_id {
            push_unsigned(fields.key("self_id"), self_id);
        }
        string(fields.key("dump_dir"), &record.dump_dir);
        if let Some(flush) = &record.graph_flush {
            push_flush(fields, flush);
        }
        if let Some(error) = &record.error {
            push_error(fields.key("error"), error);
        }
        if let Some(reason) = &record.reason {
            string(fields.key("reason"), reason);
        }
        if let Some(origin) = &record.origin {
            push_origin(fields.key("callbox"), origin);
        }
        if !record.files.is_empty() {
            push_files(fields.key("tensor_files"), &record.files);
        }
    });
}

fn push_values(out: &mut String, values: &[(String, MetaValue)]) {
    object(out, |fields| values.iter().for_each(|(key, value)| push_value(fields.key(key), value)));
}

fn push_tensor_info(out: &mut String, info: &TensorInfo) {
    let keys = |out: &mut String, keys: &[String]| push_array(out, keys, |out, key| string(out, key));
    object(out, |fields| {
        keys(fields.key("input_tensor_keys"), &info.input_keys);
        keys(fields.key("output_tensor_keys"), &info.output_keys);
        push_unsigned(fields.key("input_size_bytes"), info.input_bytes);
        push_mebibytes(fields.key("input_size_mb"), info.input_bytes);
        if let Some(output_bytes) = info.output_bytes {
            let total = info.input_bytes.saturating_add(output_bytes);
            push_unsigned(fields.key("output_size_bytes"), output_bytes);
            push_mebibytes(fields.key("output_size_mb"), output_bytes);
            push_unsigned(fields.key("total_size_bytes"), total);
            push_mebibytes(fields.key("total_size_mb"), total);
        }
        if !info.args_after_keys.is_empty() {
            keys(fields.key("args_after_tensor_keys"), &info.args_after_keys);
        }
    });
}

/// Writes bytes in units of 2^20.
fn push_mebibytes(out: &mut String, bytes: u64) {
    push_float(out, bytes as f64 / f64::from(1 << 20), Dialect::Python);
}

fn push_tensor_details(out: &mut String, details: &[(String, TensorMeta)]) {
    object(out, |fields| {
        for (key, tensor) in details {
            object(fields.key(key), |fields| push_meta(fields, tensor));
        }
    });
}

fn push_versions(out: &mut String, versions: &[(String, String)]) {
    object(out, |fields| versions.iter().for_each(|(library, version)| string(fields.key(library), version)));
}

fn push_flush(fields: &mut Entries<'_>, flush: &GraphFlush) {
    push_bool(fields.key("graph_capture_flushed"), true);
    push_unsigned(fields.key("graph_capture_flush_index"), flush.index);
    string(fields.key("graph_capture_snapshot_dir"), &flush.snapshot_dir);
    if let Some(base_dir) = &flush.base_dir {
        string(fields.key("graph_capture_base_dump_dir"), base_dir);
    }
}

fn push_error(out: &mut String, error: &RecordedError) {
    object(out, |fields| {
        string(fields.key("kind"), &error.kind);
        string(fields.key("type"), &error.type_name);
        string(fields.key("text"), &error.text);
    });
}

fn push_origin(out: &mut String, origin: &Origin) {
    object(out, |fields| {
        push_unsigned(fields.key("format"), u64::from(origin.format));
        string(fields.key("host"), &origin.host);
        string(fields.key("process"), &origin.process);
    });
}

/// Writes what is known of each file of tensors by its name.
pub(crate) fn push_files(out: &mut String, files: &[RecordedFile]) {
    object(out, |entries| {
        for RecordedFile { name, bytes, hash, is_unstable } in files {
            object(entries.key(name), |fields| {
                push_unsigned(fields.key("bytes"), *bytes);
                if let Some(hash) = hash {
                    string(fields.key("hash"), &hash.to_string());
                }
                if *is_unstable {
                    push_bool(fields.key("unstable"), true);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests;
