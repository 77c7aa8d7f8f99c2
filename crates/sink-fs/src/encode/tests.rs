use callbox_core::{ExecutionStatus, FileHash, FunctionName, Int, MetaTensor, Text, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::hash::{Seal, seal_of, unsealed};
use crate::json;
use crate::record::read_record;

fn record() -> CallRecord {
    CallRecord {
        function: FunctionName::new("flashinfer.decode", "Wrapper.run"),
        call_sequence: 2,
        timestamp: "20261124_190322_551".to_owned(),
        process_id: 24328,
        input_metadata: Vec::new(),
        output_metadata: Vec::new(),
        tensor_info: TensorInfo::default(),
        tensor_details: Vec::new(),
        tensor_format: "torch".to_owned(),
        function_signature: "(self, x: float = 1e-06) -> None".to_owned(),
        versions: vec![("torch".to_owned(), "2.15.0".to_owned())],
        status: ExecutionStatus::InputsSaved,
        graph_capture: false,
        graph_flush: None,
        self_id: None,
        dump_dir: "a/b c/é".to_owned(),
        origin: None,
        error: None,
        reason: None,
        files: Vec::new(),
    }
}

fn meta(shape: &[usize], strides: &[usize]) -> TensorMeta {
    TensorMeta {
        shape: shape.to_vec(),
        strides: strides.to_vec(),
        dtype: "torch.float16".to_owned(),
        device: "cuda:0".to_owned(),
    }
}

/// Checks a line by its parts, in their order.
fn check(record: &CallRecord, parts: &[&str]) {
    let line = line(record);
    let text = str::from_utf8(line.as_bytes()).unwrap();
    assert_eq!(text, format!("{{{}}}\n", parts.join(", ")));
    let read = read_record(&json::parse(line.as_bytes().trim_ascii_end()).unwrap()).unwrap();
    assert_eq!(&read, record);
}

#[test]
fn the_first_line_of_a_call_is_what_python_would_write() {
    let mut record = record();
    record.input_metadata = vec![("kwarg_scale".to_owned(), Value::Float(f64::NEG_INFINITY))];
    record.tensor_info.input_keys = vec!["arg_1".to_owned()];
    record.tensor_info.input_bytes = 32;
    record.tensor_details = vec![("arg_1".to_owned(), meta(&[8, 2], &[2, 1]))];
    record.self_id = Some(140_528_012_345_680);
    check(
        &record,
        &[
            r#""function_name": "Wrapper.run", "module": "flashinfer.decode", "call_sequence": 2"#,
            r#""timestamp": "20261124_190322_551", "process_id": 24328"#,
            r#""input_metadata": {"kwarg_scale": -Infinity}, "output_metadata": {}"#,
            r#""tensor_info": {"input_tensor_keys": ["arg_1"], "output_tensor_keys": [], "input_size_bytes": 32, "input_size_mb": 3.0517578125e-05}"#,
            r#""tensor_details": {"arg_1": {"shape": [8, 2], "dtype": "torch.float16", "stride": [2, 1], "device": "cuda:0"}}"#,
            r#""tensor_format": "torch", "function_signature": "(self, x: float = 1e-06) -> None", "versions": {"torch": "2.15.0"}"#,
            r#""execution_status": "inputs_saved", "graph_capture": false, "self_id": 140528012345680, "dump_dir": "a/b c/\u00e9""#,
        ],
    );
}

#[test]
fn our_own_keys_follow_behind_those_of_flashinfer() {
    let mut record = record();
    record.tensor_info.output_bytes = Some(1 << 20);
    record.tensor_info.args_after_keys = vec!["kwarg_out".to_owned()];
    record.status = ExecutionStatus::Failed;
    record.error = Some(RecordedError {
        kind: "panic".to_owned(),
        type_name: "String".to_owned(),
        text: "no\nluck".to_owned(),
    });
    record.reason = Some("the budget is spent".to_owned());
    record.origin = Some(Origin { format: 1, host: "node".into(), process: "9f".into() });
    let hash = FileHash { kind: "xxh3".into(), digits: "06b05ab6733a618578af5f94892f3950".to_owned() };
    let file = RecordedFile { name: "inputs.pt".to_owned(), bytes: 9, hash: Some(hash), is_unstable: false };
    let unstable =
        RecordedFile { hash: None, is_unstable: true, name: "outputs.pt".to_owned(), ..file.clone() };
    record.files = vec![file, unstable];
    check(
        &record,
        &[
            r#""function_name": "Wrapper.run", "module": "flashinfer.decode", "call_sequence": 2"#,
            r#""timestamp": "20261124_190322_551", "process_id": 24328, "input_metadata": {}, "output_metadata": {}"#,
            r#""tensor_info": {"input_tensor_keys": [], "output_tensor_keys": [], "input_size_bytes": 0, "input_size_mb": 0.0"#,
            r#""output_size_bytes": 1048576, "output_size_mb": 1.0, "total_size_bytes": 1048576, "total_size_mb": 1.0"#,
            r#""args_after_tensor_keys": ["kwarg_out"]}, "tensor_details": {}, "tensor_format": "torch""#,
            r#""function_signature": "(self, x: float = 1e-06) -> None", "versions": {"torch": "2.15.0"}"#,
            r#""execution_status": "failed", "graph_capture": false, "dump_dir": "a/b c/\u00e9""#,
            r#""error": {"kind": "panic", "type": "String", "text": "no\nluck"}, "reason": "the budget is spent""#,
            r#""callbox": {"format": 1, "host": "node", "process": "9f"}"#,
            r#""tensor_files": {"inputs.pt": {"bytes": 9, "hash": "xxh3:06b05ab6733a618578af5f94892f3950"}, "outputs.pt": {"bytes": 9, "unstable": true}}"#,
        ],
    );
}

#[test]
fn each_kind_of_value_has_its_form() {
    let size = Value::Tuple { class: Some("Size".to_owned()), items: vec![Value::int(4), Value::int(-1)] };
    let mode =
        Value::Enum { name: "Mode.FAST".to_owned(), value: Box::new(Value::List(vec![Value::int(1)])) };
    let nested = MetaTensor { meta: meta(&[2, 3], &[1, 2]), requires_grad: true, key: "arg_0__0".to_owned() };
    for (value, expected) in [
        (Value::None, "null"),
        (Value::Bool(true), "true"),
        (
            Value::Int(Int::Big("-10000000000000000000000000000000000000000".to_owned())),
            "-10000000000000000000000000000000000000000",
        ),
        (Value::Float(1e-6), "1e-06"),
        (Value::text("\u{7f}😀"), r#""\u007f\ud83d\ude00""#),
        (Value::DType("torch.bfloat16".to_owned()), r#"{"type": "torch.dtype", "value": "torch.bfloat16"}"#),
        (mode, r#"{"type": "enum", "name": "Mode.FAST", "value": [1]}"#),
        (
            Value::Tensor(Box::new(nested)),
            r#"{"type": "torch.Tensor", "shape": [2, 3], "dtype": "torch.float16", "stride": [1, 2], "device": "cuda:0", "requires_grad": true, "is_contiguous": false, "tensor_key": "arg_0__0"}"#,
        ),
        (Value::List(Vec::new()), r#"{"type": "list", "length": 0, "items": [], "truncated": false}"#),
        (size, r#"{"type": "Size", "length": 2, "items": [4, -1], "truncated": false}"#),
        (
            Value::Map(vec![(Value::text("a"), Value::None)]),
            r#"{"type": "dict", "length": 1, "items": [{"key": "a", "value": null}], "truncated": false}"#,
        ),
        (
            Value::Truncated { class: "list".to_owned(), length: 3 },
            r#"{"type": "list", "length": 3, "truncated": true}"#,
        ),
        (
            Value::Opaque { class: "complex".to_owned(), repr: "(1+2j)".into() },
            r#"{"type": "complex", "repr": "(1+2j)"}"#,
        ),
    ] {
        let mut out = String::new();
        push_value(&mut out, &value);
        assert_eq!(out, expected);
    }
}

#[test]
fn u47_a_member_whose_value_json_cannot_hold_costs_its_value_alone() {
    let dtype =
        Value::Enum { name: "Mode.HALF".to_owned(), value: Box::new(Value::DType("half".to_owned())) };
    let mut record = record();
    record.input_metadata = vec![("arg_0".to_owned(), dtype)];
    let read = read_record(&json::parse(line(&record).as_bytes()).unwrap()).unwrap();
    assert!(matches!(&read.input_metadata[0].1, Value::Enum { name, .. } if name == "Mode.HALF"));
}

/// Text of any code points, lone surrogates among them.
fn text() -> impl Strategy<Value = Text> {
    vec(prop_oneof![0u32..0x80, 0xd7f0u32..0xe010, 0x80u32..0x11_0000], 0..8).prop_map(|code_points| {
        let mut text = Text::default();
        code_points.into_iter().for_each(|code_point| text.push_code_point(code_point));
        text
    })
}

/// Any float but NaN, which equals nothing.
fn float() -> impl Strategy<Value = f64> {
    use prop::num::f64::{INFINITE, NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};

    POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO | INFINITE
}

fn scalar() -> impl Strategy<Value = MetaValue> {
    prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::int),
        "-?[1-9][0-9]{19,40}".prop_map(|digits| Value::Int(Int::from_decimal(&digits))),
        float().prop_map(Value::Float),
        text().prop_map(Value::Text),
    ]
}

fn tensor_meta() -> impl Strategy<Value = TensorMeta> {
    vec((any::<usize>(), any::<usize>()), 0..4).prop_map(|dims| {
        let (shape, strides): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
        meta(&shape, &strides)
    })
}

/// What an enumeration's member may stand for.
fn raw() -> impl Strategy<Value = MetaValue> {
    scalar().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::List),
            prop::collection::btree_map(text(), inner, 0..3).prop_map(|entries| {
                Value::Map(entries.into_iter().map(|(key, value)| (Value::Text(key), value)).collect())
            }),
        ]
    })
}

fn value() -> impl Strategy<Value = MetaValue> {
    let leaf = prop_oneof![
        4 => scalar(),
        1 => any::<String>().prop_map(Value::DType),
        1 => (any::<String>(), raw()).prop_map(|(name, value)| Value::Enum { name, value: Box::new(value) }),
        1 => (tensor_meta(), any::<bool>(), any::<String>()).prop_map(|(meta, requires_grad, key)| {
            Value::Tensor(Box::new(MetaTensor { meta, requires_grad, key }))
        }),
        1 => ("[A-Za-z]{1,8}", any::<usize>()).prop_map(|(class, length)| Value::Truncated { class, length }),
        1 => (any::<String>(), text()).prop_map(|(class, repr)| Value::Opaque { class, repr }),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            // A class with the name of a plain container would be one.
            (prop::option::of("[A-Z][a-z]{1,8}"), vec(inner.clone(), 0..4))
                .prop_map(|(class, items)| Value::Tuple { class, items }),
            vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

fn by_key<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<(String, T)>> {
    prop::collection::btree_map(any::<String>(), value, 0..4).prop_map(|map| map.into_iter().collect())
}

prop_compose! {
    fn any_record()(
        names in [any::<String>(), any::<String>(), any::<String>(), any::<String>(), any::<String>(), any::<String>()],
        numbers in any::<[u64; 3]>(),
        output_bytes in prop::option::of(any::<u64>()),
        keys in [vec(any::<String>(), 0..3), vec(any::<String>(), 0..3), vec(any::<String>(), 0..3)],
        input_metadata in by_key(value()),
        output_metadata in by_key(value()),
        tensor_details in by_key(tensor_meta()),
        versions in by_key(any::<String>()),
        self_id in prop::option::of(any::<u64>()),
        graph_capture in any::<bool>(),
        flush in prop::option::of((any::<u64>(), any::<String>(), prop::option::of(any::<String>()))),
        origin in prop::option::of((any::<u32>(), any::<String>(), any::<String>())),
        error in prop::option::of([any::<String>(), any::<String>(), any::<String>()]),
        reason in prop::option::of(any::<String>()),
        files in by_key((any::<u64>(), prop::option::of("[a-z0-9]{1,9}"), any::<bool>())),
    ) -> CallRecord {
        let [function, module, timestamp, tensor_format, function_signature, dump_dir] = names;
        let [call_sequence, process_id, input_bytes] = numbers;
        let [input_keys, output_keys, args_after_keys] = keys;
        CallRecord {
            function: FunctionName::new(module, function),
            call_sequence,
            timestamp,
            process_id,
            input_metadata,
            output_metadata,
            tensor_info: TensorInfo { input_keys, output_keys, input_bytes, output_bytes, args_after_keys },
            tensor_details,
            tensor_format,
            function_signature,
            versions,
            status: ExecutionStatus::Completed,
            graph_capture,
            graph_flush: flush.map(|(index, snapshot_dir, base_dir)| GraphFlush { index, snapshot_dir, base_dir }),
            self_id,
            dump_dir,
            origin: origin.map(|(format, host, process)| Origin { format, host: host.into(), process: process.into() }),
            error: error.map(|[kind, type_name, text]| RecordedError { kind, type_name, text }),
            reason,
            files: files.into_iter().map(|(name, (bytes, digits, is_unstable))| {
                let hash = digits.map(|digits| FileHash { kind: "xxh3".into(), digits });
                RecordedFile { name, bytes, hash, is_unstable }
            }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_equal(record in any_record()) {
        let line = line(&record);
        prop_assert!(line.as_bytes().is_ascii());
        let read = read_record(&json::parse(line.as_bytes().trim_ascii_end()).unwrap()).unwrap();
        prop_assert_eq!(&read, &record);

        let sealed = sealed_line(&record);
        let content = sealed.as_bytes().trim_ascii_end();
        prop_assert_eq!(seal_of(content), Seal::Whole);
        prop_assert_eq!(unsealed(content).unwrap() + "\n", str::from_utf8(line.as_bytes()).unwrap());
        prop_assert_eq!(read_record(&json::parse(content).unwrap()).unwrap(), record);
    }
}
