//! The few fields of a line that listing a session needs, read without building the rest.

use std::borrow::Cow;

use callbox_core::{ExecutionStatus, GroupSummary};

use crate::json::{JsonError, Kind, RawString, Scanner};
use crate::jsonl::LineError;
use crate::record::RecordError;
use crate::recurring::{Recurring, TensorDetails};
use crate::second_call::{Identity, has_ended};

/// What one line says of its call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineFacts<'a> {
    pub(crate) function: Cow<'a, str>,
    pub(crate) module: Cow<'a, str>,
    pub(crate) status: Cow<'a, str>,
    pub(crate) call_sequence: Option<u64>,
    pub(crate) timestamp: Option<Cow<'a, str>>,
    pub(crate) process_id: Option<u64>,
    pub(crate) self_id: Option<u64>,
    pub(crate) dump_dir: Option<Cow<'a, str>>,
    /// Host and process number, where callbox's own recorder wrote the line.
    pub(crate) origin: Option<(Cow<'a, str>, Cow<'a, str>)>,
    pub(crate) graph_capture: bool,
    /// The line is about one flush of a captured call, kept in a folder inside the call's.
    pub(crate) is_snapshot: bool,
    /// The number of that flush, or of the last one.
    pub(crate) flush: Option<u64>,
    pub(crate) inputs: GroupSummary,
    pub(crate) outputs: GroupSummary,
    pub(crate) tensor_details: Option<TensorDetails>,
    /// Tensors changed while one of the call's files was written.
    pub(crate) is_unstable: bool,
}

impl LineFacts<'_> {
    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity {
            function: &self.function,
            module: &self.module,
            call_sequence: self.call_sequence.unwrap_or_default(),
            process_id: self.process_id.unwrap_or_default(),
            origin: self.origin.as_ref().map(|(host, process)| (&**host, &**process)),
            has_ended: has_ended(&ExecutionStatus::from_name(&self.status), self.graph_capture),
        }
    }
}

/// Reads a line. It is checked to be whole; keys that appear twice are noticed among those that are read.
pub(crate) fn scan_line<'a>(line: &'a [u8], recurring: &mut Recurring) -> Result<LineFacts<'a>, LineError> {
    let mut facts = LineFacts::default();
    let (mut function, mut module, mut status) = (None, None, None);
    // The folder of the snapshot is not needed, but a record with another value is none.
    let (mut graph_capture, mut base_dump_dir, mut snapshot_dir) = (None, None, None);
    let (mut info, mut origin, mut unstable) = (None, None, None);
    let mut scanner = Scanner::new(line)?;
    scanner.object(|scanner, key| match &*key.to_bytes() {
        b"function_name" => {
            once(scanner, key, &mut function, string)?;
            recurring.turn_to(function.as_deref().unwrap_or_default().as_bytes());
            Ok(())
        }
        b"module" => once(scanner, key, &mut module, string),
        b"execution_status" => once(scanner, key, &mut status, string),
        b"call_sequence" => once(scanner, key, &mut facts.call_sequence, unsigned),
        b"timestamp" => once(scanner, key, &mut facts.timestamp, string),
        b"process_id" => once(scanner, key, &mut facts.process_id, unsigned),
        b"self_id" => once(scanner, key, &mut facts.self_id, unsigned),
        b"dump_dir" => once(scanner, key, &mut facts.dump_dir, string),
        b"graph_capture" => once(scanner, key, &mut graph_capture, Scanner::bool),
        b"graph_capture_base_dump_dir" => once(scanner, key, &mut base_dump_dir, string),
        b"graph_capture_snapshot_dir" => once(scanner, key, &mut snapshot_dir, string),
        b"graph_capture_flush_index" => once(scanner, key, &mut facts.flush, unsigned),
        b"tensor_details" => {
            once(scanner, key, &mut facts.tensor_details, |scanner| recurring.tensor_details(scanner))
        }
        b"tensor_info" => once(scanner, key, &mut info, scan_tensor_info),
        b"callbox" => once(scanner, key, &mut origin, scan_origin),
        b"tensor_files" => once(scanner, key, &mut unstable, scan_files),
        other => recurring.skip(scanner, other),
    })?;
    scanner.end()?;
    facts.function = function.ok_or_else(|| RecordError::missing("function_name"))?;
    facts.status = status.ok_or_else(|| RecordError::missing("execution_status"))?;
    facts.module = module.unwrap_or_default();
    facts.graph_capture = graph_capture.unwrap_or_default();
    facts.is_snapshot = base_dump_dir.is_some();
    (facts.inputs, facts.outputs) = info.unwrap_or_default();
    facts.origin = origin.flatten();
    facts.is_unstable = unstable.unwrap_or_default();
    Ok(facts)
}

fn scan_tensor_info(scanner: &mut Scanner<'_>) -> Result<(GroupSummary, GroupSummary), JsonError> {
    let (mut input_keys, mut output_keys, mut input_bytes, mut output_bytes) = (None, None, None, None);
    scanner.object(|scanner, key| match &*key.to_bytes() {
        b"input_tensor_keys" => once(scanner, key, &mut input_keys, count),
        b"output_tensor_keys" => once(scanner, key, &mut output_keys, count),
        b"input_size_bytes" => once(scanner, key, &mut input_bytes, unsigned),
        b"output_size_bytes" => once(scanner, key, &mut output_bytes, unsigned),
        _ => scanner.skip(),
    })?;
    let group = |tensors: Option<usize>, bytes: Option<u64>| GroupSummary {
        tensors: tensors.unwrap_or_default(),
        bytes: bytes.unwrap_or_default(),
    };
    Ok((group(input_keys, input_bytes), group(output_keys, output_bytes)))
}

type OriginFacts<'a> = Option<(Cow<'a, str>, Cow<'a, str>)>;

fn scan_origin<'a>(scanner: &mut Scanner<'a>) -> Result<OriginFacts<'a>, JsonError> {
    let (mut format, mut host, mut process) = (None, None, None);
    scanner.object(|scanner, key| match &*key.to_bytes() {
        // Not needed, but a record with another value is none.
        b"format" => once(scanner, key, &mut format, unsigned),
        b"host" => once(scanner, key, &mut host, string),
        b"process" => once(scanner, key, &mut process, string),
        _ => scanner.skip(),
    })?;
    Ok(host.zip(process))
}

/// Tells whether one of the files is unstable.
fn scan_files(scanner: &mut Scanner<'_>) -> Result<bool, JsonError> {
    let mut any = false;
    scanner.object(|scanner, name| {
        let offset = scanner.offset();
        let (mut bytes, mut hash, mut unstable) = (None, None, None);
        let file = scanner.object(|scanner, key| match &*key.to_bytes() {
            b"unstable" => once(scanner, key, &mut unstable, Scanner::bool),
            // Not needed, but a record with other values is none.
            b"bytes" => once(scanner, key, &mut bytes, unsigned),
            b"hash" => once(scanner, key, &mut hash, string),
            _ => scanner.skip(),
        });
        file.map_err(|error| error.of_key(name))?;
        any |= unstable.unwrap_or_default();
        match bytes {
            Some(_) => Ok(()),
            None => Err(JsonError::new(offset, "there is no `bytes`").of_key(name)),
        }
    })?;
    Ok(any)
}

/// Reads the value of a key that may appear once; null counts as absent.
fn once<'a, T>(
    scanner: &mut Scanner<'a>,
    key: RawString<'a>,
    slot: &mut Option<T>,
    read: impl FnOnce(&mut Scanner<'a>) -> Result<T, JsonError>,
) -> Result<(), JsonError> {
    let offset = scanner.offset();
    if scanner.peek()? == Kind::Null {
        return scanner.null();
    }
    match slot.replace(read(scanner).map_err(|error| error.of_key(key))?) {
        None => Ok(()),
        Some(_) => Err(JsonError::new(offset, "this key appears twice").of_key(key)),
    }
}

fn string<'a>(scanner: &mut Scanner<'a>) -> Result<Cow<'a, str>, JsonError> {
    scanner.string().map(RawString::to_string_lossy)
}

fn unsigned(scanner: &mut Scanner<'_>) -> Result<u64, JsonError> {
    let offset = scanner.offset();
    let number = scanner.number()?;
    number.as_unsigned().ok_or_else(|| JsonError::new(offset, "expected an unsigned integer"))
}

fn count(scanner: &mut Scanner<'_>) -> Result<usize, JsonError> {
    let mut items = 0;
    scanner.array(|scanner| {
        items += 1;
        scanner.skip()
    })?;
    Ok(items)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use callbox_core::TensorMeta;
    use proptest::prelude::*;

    use super::*;
    use crate::json;
    use crate::record::read_record;

    fn scan(line: &[u8]) -> Result<LineFacts<'_>, LineError> {
        scan_line(line, &mut Recurring::default())
    }

    fn check_refused(line: &str, reason: &str) {
        let error = scan(line.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{line}: {error}");
    }

    #[test]
    fn the_fields_of_a_line_are_those_of_the_whole_record() {
        let line = r#"{"function_name": "W.run", "module": "m", "call_sequence": 2, "timestamp": "t", "process_id": 7,
            "input_metadata": {"function_name": "no"}, "tensor_info": {"input_tensor_keys": ["arg_0", "arg_1"],
            "output_tensor_keys": [], "input_size_bytes": 32, "input_size_mb": 3e-05},
            "tensor_details": {"arg_0": {"shape": [2], "dtype": "torch.int8", "stride": [1]}}, "execution_status": "inputs_saved", "graph_capture": true, "graph_capture_flush_index": 3,
            "self_id": 18446744073709551615, "dump_dir": "a/b", "callbox": {"host": "h", "process": "p"},
            "tensor_files": {"inputs.pt": {"bytes": 9, "unstable": true}, "outputs.pt": {"bytes": 9, "hash": "xxh3:0"}}}"#;
        let facts = scan(line.as_bytes()).unwrap();
        let int8 = TensorMeta {
            shape: vec![2],
            strides: vec![1],
            dtype: "torch.int8".to_owned(),
            device: "cpu".to_owned(),
        };
        let expected = LineFacts {
            function: "W.run".into(),
            module: "m".into(),
            status: "inputs_saved".into(),
            call_sequence: Some(2),
            timestamp: Some("t".into()),
            process_id: Some(7),
            self_id: Some(u64::MAX),
            dump_dir: Some("a/b".into()),
            origin: Some(("h".into(), "p".into())),
            graph_capture: true,
            is_snapshot: false,
            flush: Some(3),
            inputs: GroupSummary { tensors: 2, bytes: 32 },
            outputs: GroupSummary::default(),
            tensor_details: Some(Arc::new([("arg_0".to_owned(), int8)])),
            is_unstable: true,
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn escapes_in_keys_and_names_are_resolved() {
        let line =
            br#"{"function\u005fname": "\u00e9\ud800", "execution_status": "completed", "module": null}"#;
        let facts = scan(line).unwrap();
        assert_eq!((&*facts.function, &*facts.module), ("é\u{fffd}", ""));
    }

    #[test]
    fn a_line_that_lacks_what_is_needed_is_refused() {
        check_refused(r#"{"function_name": "f"}"#, "there is no `execution_status`");
        check_refused(r#"{"execution_status": "completed"}"#, "there is no `function_name`");
        check_refused(r#"{"module": "os", "module": "sys"}"#, "column 27: `module`: this key appears twice");
        check_refused(r#"{"call_sequence": -1}"#, "column 19: `call_sequence`: expected an unsigned integer");
        check_refused(
            r#"{"tensor_info": {"input_size_bytes": -1}}"#,
            "`tensor_info`: `input_size_bytes`: expected",
        );
        check_refused(r#"{"call_sequence": 1.0}"#, "expected an unsigned integer");
        check_refused(r#"{"call_sequence": "1"}"#, "expected a digit");
        check_refused(r#"{"function_name": 1}"#, "expected a string");
        check_refused("[]", "expected an object");
    }

    /// Values that differ in where they end and what follows.
    fn value() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "{}",
            "{\"a\": [1, 2]}",
            "{\"a\": [1, 2], \"b\": 3}",
            "[]",
            "[[]]",
            "\"\"",
            "\"a\"",
            "\"a\\\"\"",
            "1",
            "12",
            "{\"a\"",
            "[1",
            "\"a",
        ])
    }

    fn details() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "{}",
            "{\"arg_0\": {\"shape\": [1], \"dtype\": \"torch.int8\"}}",
            "{\"arg_0\": {\"shape\": [12], \"dtype\": \"torch.int8\"}}",
            "{\"arg_0\": {\"shape\": [-1], \"dtype\": \"torch.int8\"}}",
            "{\"arg_0\": {}",
            "[]",
        ])
    }

    proptest! {
        #[test]
        fn a_line_reads_the_same_whatever_was_read_before(
            lines in prop::collection::vec((prop::sample::select(vec!["f", "g"]), value(), details()), 1..12),
        ) {
            let mut recurring = Recurring::default();
            for (function, other, details) in lines {
                let line = format!(
                    r#"{{"function_name": "{function}", "execution_status": "completed",
                    "other": {other}, "tensor_details": {details}}}"#
                );
                let fresh = scan(line.as_bytes()).map_err(|error| error.to_string());
                let again = scan_line(line.as_bytes(), &mut recurring).map_err(|error| error.to_string());
                prop_assert_eq!(again, fresh);
            }
        }

        #[test]
        fn both_readers_take_the_same_origin(
            values in prop::array::uniform3(
                prop::sample::select(vec!["1", "-1", "2.5", "null", "\"a\"", "{}", "18446744073709551616"])
            ),
            present in any::<[bool; 3]>(),
        ) {
            let keys = ["format", "host", "process"];
            let entries: Vec<_> = keys.iter().zip(values).zip(present).filter(|(_, present)| *present)
                .map(|((key, value), _)| format!("\"{key}\": {value}")).collect();
            let line = format!(
                r#"{{"function_name": "f", "execution_status": "completed", "callbox": {{{}}}}}"#,
                entries.join(", ")
            );
            let record = read_record(&json::parse(line.as_bytes()).unwrap()).ok();
            let origin = record.map(|record| record.origin.map(|o| (o.host.to_string(), o.process.to_string())));
            let facts = scan(line.as_bytes()).ok();
            let listed = facts.map(|facts| facts.origin.map(|(host, process)| (host.into(), process.into())));
            prop_assert_eq!(listed, origin);
        }

        #[test]
        fn what_the_index_takes_the_record_takes(
            number in prop::sample::select(vec!["1", "-1", "1.5", "null", "\"1\"", "18446744073709551616"]),
            text in prop::sample::select(vec!["\"f\"", "null", "1", "\"\\ud800\""]),
            key in prop::sample::select(vec!["call_sequence", "process_id", "self_id"]),
        ) {
            let line = format!(
                r#"{{"function_name": {text}, "execution_status": "completed", "{key}": {number}, "module": {text}}}"#
            );
            let record = read_record(&json::parse(line.as_bytes()).unwrap());
            prop_assert_eq!(scan(line.as_bytes()).is_ok(), record.is_ok());
        }

        #[test]
        fn both_readers_take_the_same_files(
            values in prop::array::uniform3(
                prop::sample::select(vec!["1", "-1", "2.5", "null", "\"a\"", "{}", "true", "false"])
            ),
            present in any::<[bool; 3]>(),
            whole in prop::sample::select(vec!["{}", "1", "null", "[]"]),
        ) {
            let keys = ["bytes", "hash", "unstable"];
            let entries: Vec<_> = keys.iter().zip(values).zip(present).filter(|(_, present)| *present)
                .map(|((key, value), _)| format!("\"{key}\": {value}")).collect();
            for files in [format!("{{\"inputs.pt\": {{{}}}}}", entries.join(", ")), whole.to_owned()] {
                let line = format!(
                    r#"{{"function_name": "f", "execution_status": "completed", "tensor_files": {files}}}"#
                );
                let record = read_record(&json::parse(line.as_bytes()).unwrap()).ok();
                let recorded = record.map(|record| record.files.iter().any(|file| file.is_unstable));
                let listed = scan(line.as_bytes()).ok().map(|facts| facts.is_unstable);
                prop_assert_eq!(listed, recorded, "{}", line);
            }
        }
    }
}
