//! Every kind of value, with what Python shows of it when FlashInfer has read it back.

use callbox_core::{DType, Int, Text, Value};

use crate::call::Call;
use crate::random::Random;
use crate::tensor::Tensor;

type Plain = Value<Tensor>;

/// Builds the calls, each with one value and a tensor beside it; and some without a tensor.
pub(crate) fn calls() -> Vec<Call> {
    let tensor = some_tensor();
    let with_tensor = plain_values().into_iter().map(|(value, text)| {
        let mut call = Call::echo("value", vec![value, tensor.clone()]);
        call.texts = vec![("arg_0", text.to_owned())];
        call
    });
    let mut calls: Vec<_> = with_tensor.collect();
    calls.push(Call::echo("without_tensors", vec![Value::int(1), Value::text("two")]));
    calls.push(Call::echo("without_tensors", Vec::new()));
    calls.extend(nested(&tensor).into_iter().map(|value| Call::echo("nested", vec![value])));
    let mut keyword = Call::echo("by_name", Vec::new());
    keyword.keyword =
        vec![("scale", Value::Float(0.5)), ("x", tensor.clone()), ("more", Value::List(vec![tensor]))];
    keyword.texts = vec![("kwarg_scale", "0.5".to_owned())];
    calls.push(keyword);
    calls
}

fn some_tensor() -> Plain {
    let storage = Random::new(2).storage(DType::Float32, 6);
    Value::Tensor(Tensor::contiguous(DType::Float32, &[2, 3], &storage))
}

fn plain_values() -> Vec<(Plain, &'static str)> {
    let big = "-10000000000000000000000000000000000000000";
    let opaque = |class: &str, repr: &str| Value::Opaque {
        class: class.to_owned(),
        repr: Text::from(repr.to_owned()),
    };
    let mut lone_surrogate = Text::default();
    lone_surrogate.push_code_point(0xd800);
    vec![
        (Value::None, "None"),
        (Value::Bool(true), "True"),
        (Value::Bool(false), "False"),
        (Value::int(0), "0"),
        (Value::int(i64::MIN), "-9223372036854775808"),
        (Value::Int(Int::from_decimal(big)), big),
        (Value::Float(0.5), "0.5"),
        (Value::Float(2.0), "2.0"),
        (Value::Float(-0.0), "-0.0"),
        (Value::Float(1e-6), "1e-06"),
        (Value::Float(1e16), "1e+16"),
        (Value::Float(123_456_789_012_345_680.0), "1.2345678901234568e+17"),
        (Value::Float(f64::MAX), "1.7976931348623157e+308"),
        (Value::Float(5e-324), "5e-324"),
        (Value::Float(f64::NAN), "nan"),
        (Value::Float(f64::INFINITY), "inf"),
        (Value::Float(f64::NEG_INFINITY), "-inf"),
        (Value::text(""), "''"),
        (Value::text("it's"), r#""it's""#),
        (Value::text("a\"b\\c\n\t\u{1}\u{7f}"), r#"'a"b\\c\n\t\x01\x7f'"#),
        (Value::text("\u{2028}é😀"), r"'\u2028é😀'"),
        (Value::Text(lone_surrogate), r"'\ud800'"),
        (Value::dtype(DType::Float8E4M3Fn), "torch.float8_e4m3fn"),
        (
            Value::Enum { name: "Mode.FAST".to_owned(), value: Box::new(Value::int(2)) },
            "{'type': 'enum', 'name': 'Mode.FAST', 'value': 2}",
        ),
        (Value::List(Vec::new()), "[]"),
        (Value::List(vec![Value::int(1), Value::Float(f64::NAN), Value::None]), "[1, nan, None]"),
        (Value::tuple(Vec::new()), "()"),
        (Value::tuple(vec![Value::int(1)]), "(1,)"),
        (
            Value::Tuple { class: Some("Point".to_owned()), items: vec![Value::int(1), Value::Bool(true)] },
            "{'type': 'Point', 'length': 2, 'items': [1, True], 'truncated': False}",
        ),
        (Value::Map(Vec::new()), "{}"),
        (
            Value::Map(vec![
                (Value::text("k"), Value::tuple(vec![Value::int(1), Value::List(vec![Value::text("x")])])),
                (Value::int(2), Value::dtype(DType::BFloat16)),
            ]),
            "{'k': (1, ['x']), 2: torch.bfloat16}",
        ),
        (
            Value::Truncated { class: "list".to_owned(), length: 3 },
            "{'type': 'list', 'length': 3, 'truncated': True}",
        ),
        (opaque("complex", "(1+2j)"), "{'type': 'complex', 'repr': '(1+2j)'}"),
    ]
}

/// Containers with tensors, down to the depth that FlashInfer keeps and below it.
fn nested(tensor: &Plain) -> Vec<Plain> {
    let map = Value::Map(vec![
        (
            Value::text("k"),
            Value::List(vec![tensor.clone(), Value::tuple(vec![tensor.clone(), Value::int(1)])]),
        ),
        (Value::int(3), tensor.clone()),
    ]);
    let deep = |depth| (0..depth).fold(tensor.clone(), |value, _| Value::List(vec![value]));
    vec![map, deep(1), deep(8), deep(20)]
}
