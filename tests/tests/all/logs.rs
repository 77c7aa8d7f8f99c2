//! The call log against real ones: the same calls with the same values give the same text, character for character.
//!
//! `tests/data/logs` holds what FlashInfer 0.7.2 wrote at each level for one call of `show` after the other. Times,
//! addresses and folder names are masked.

use std::fs;
use std::sync::Arc;

use callbox_core::{
    Adapters, Callsite, DType, Device, Flags, Layout, Level, LiveArguments, LiveValue, LogSink, Recorder,
    Settings, TensorBuf, Text, Value,
};
use callbox_sink_stdio::{LogDestination, StdioSink};
use callbox_testkit::MemorySink;
use callbox_testkit::fixed::{FixedClock, FixedHost};
use callbox_values::ToValue;

static SHOW: Callsite = Callsite::new("script", "show", "(*args, **kwargs)");
static WRAPPER_RUN: Callsite = Callsite::new("script", "DemoWrapper.run", "(self, q, return_lse=False)");
static WRAPPER_SHOW: Callsite = Callsite::new("script", "DemoWrapper.show", "(*args, **kwargs)");

/// One call of the script.
enum Call {
    /// `show(value)`, which returns the value.
    Echo(OwnedArgument),
    /// Any other call: its arguments by position and by name, and its result.
    Other(&'static Callsite, Vec<OwnedArgument>, Vec<(&'static str, OwnedArgument)>, OwnedArgument),
    /// One that Rust has no counterpart of.
    NotInRust(&'static str),
}

type OwnedArgument = Value<TensorBuf>;

fn live(value: &OwnedArgument) -> LiveValue<'_> {
    match value {
        Value::Tensor(tensor) => tensor.to_value(),
        Value::List(items) => Value::List(items.iter().map(live).collect()),
        Value::Tuple { class, items } => {
            Value::Tuple { class: class.clone(), items: items.iter().map(live).collect() }
        }
        Value::Map(entries) => {
            Value::Map(entries.iter().map(|(key, value)| (live(key), live(value))).collect())
        }
        other => other.try_map::<_, ()>(&mut |_| Err(())).unwrap(),
    }
}

fn opaque(class: &str, repr: &str) -> OwnedArgument {
    Value::Opaque { class: class.to_owned(), repr: Text::from(repr) }
}

fn member(name: &str, value: OwnedArgument) -> OwnedArgument {
    Value::Enum { name: name.to_owned(), value: Box::new(value) }
}

fn floats(dtype: DType, shape: &[usize], values: &[f32]) -> OwnedArgument {
    Value::Tensor(TensorBuf::from_f32(dtype, shape, values).unwrap())
}

fn f32s(values: &[f32]) -> OwnedArgument {
    floats(DType::Float32, &[values.len()], values)
}

fn elements(dtype: DType, bytes: &[&[u8]]) -> OwnedArgument {
    let shape = [bytes.len()];
    Value::Tensor(TensorBuf::from_elements(dtype, &shape, bytes.concat()).unwrap())
}

fn with_layout(tensor: OwnedArgument, shape: &[usize], strides: &[usize]) -> OwnedArgument {
    let Value::Tensor(tensor) = tensor else { panic!("a tensor") };
    Value::Tensor(tensor.with_layout(Layout::new(shape, strides, 0).unwrap()).unwrap())
}

fn scalars() -> Vec<OwnedArgument> {
    let list = |items: &[i64]| Value::List(items.iter().map(|item| Value::int(*item)).collect());
    let text = Value::text;
    vec![
        Value::None,
        Value::Bool(true),
        Value::Bool(false),
        Value::int(0),
        Value::int(-3),
        Value::Int(callbox_core::Int::from_decimal("1180591620717411303424")),
        Value::Float(1.5),
        Value::Float(1e-7),
        Value::Float(1e22),
        Value::Float(f64::NAN),
        Value::Float(f64::NEG_INFINITY),
        opaque("complex", "(1-2j)"),
        text("a'b\"c\n\t\\ é ✅"),
        text(""),
        opaque("bytes", r"b'\x00ab'"),
        member("Mode.FAST", text("fast")),
        member("Mode.SLOW", Value::int(2)),
        member("Level.LOW", Value::int(1)),
        Value::dtype(DType::Float16),
        Value::dtype(DType::Float8E4M3Fn),
        opaque("device", &Device::Cpu.to_string()),
        Value::Tuple { class: Some("Size".to_owned()), items: vec![Value::int(2), Value::int(3)] },
        opaque("layout", "torch.strided"),
        opaque("type", "<class '__main__.Plain'>"),
        opaque("Named", "Named(\n  multi line\n)"),
        opaque("Broken", "<Broken object>"),
        Value::List(Vec::new()),
        Value::tuple(Vec::new()),
        Value::Map(Vec::new()),
        Value::List(vec![Value::int(1), text("two"), Value::None]),
        Value::tuple(vec![Value::int(1), Value::tuple(vec![Value::int(2), list(&[3])])]),
        Value::Map(vec![
            (text("a"), Value::int(1)),
            (Value::int(2), Value::Map(vec![(text("b"), Value::List(vec![Value::Bool(true)]))])),
            (Value::tuple(vec![Value::int(1), Value::int(2)]), Value::None),
        ]),
        Value::Tuple { class: Some("Point".to_owned()), items: vec![Value::int(1), f32s(&[1.0])] },
        opaque("set", "{3}"),
        opaque("range", "range(0, 4)"),
        opaque("slice", "slice(1, 2, None)"),
        opaque("builtin_function_or_method", "<built-in function print>"),
        opaque("Plain", "<__main__.Plain object at 0x0>"),
    ]
}

fn tensors() -> Vec<OwnedArgument> {
    let six = [0., 1., 2., 3., 4., 5.];
    let double: Vec<[u8; 8]> = six.iter().map(|value| f64::from(*value).to_le_bytes()).collect();
    let double: Vec<&[u8]> = double.iter().map(<[u8; 8]>::as_slice).collect();
    let Value::Tensor(gradients) = f32s(&[1.540_996, -0.293_428_9]) else { panic!("a tensor") };
    vec![
        floats(DType::Float32, &[2, 3], &six),
        with_layout(floats(DType::Float32, &[2, 3], &six), &[3, 2], &[1, 3]),
        floats(DType::Float16, &[6], &six),
        floats(DType::BFloat16, &[6], &six),
        elements(DType::Float64, &double),
        elements(DType::Int8, &[&[1], &(-5i8).to_le_bytes(), &[7]]),
        elements(DType::Int16, &[&1i16.to_le_bytes(), &2i16.to_le_bytes()]),
        elements(DType::Int32, &[&1i32.to_le_bytes(), &2i32.to_le_bytes()]),
        elements(DType::Int64, &[&(1i64 << 40).to_le_bytes(), &(-1i64).to_le_bytes()]),
        elements(DType::UInt8, &[&[0], &[255]]),
        elements(DType::Bool, &[&[1], &[0]]),
        elements(DType::Complex64, &[&[0, 0, 128, 63, 0, 0, 0, 64]]),
        floats(DType::Float8E4M3Fn, &[3], &[1.0, 448.0, -2.0]),
        floats(DType::Float8E5M2, &[2], &[1.0, 57344.0]),
        elements(DType::Float8E4M3FnUz, &[&[0x40]]),
        elements(DType::UInt16, &[&[7, 0]]),
        elements(DType::Float8E8M0Fnu, &[&[127]]),
        f32s(&[f32::NAN, 1.0, f32::INFINITY]),
        f32s(&[f32::NAN; 3]),
        f32s(&[1e-30, 1e30]),
        f32s(&[-0.0]),
        floats(DType::Float32, &[], &[3.5]),
        Value::Tensor(TensorBuf::from_elements(DType::Int64, &[], 4i64.to_le_bytes().to_vec()).unwrap()),
        f32s(&[]),
        Value::Tensor(TensorBuf::from_elements(DType::Int32, &[2, 0], Vec::new()).unwrap()),
        Value::Tensor(gradients.with_flags(Flags { requires_grad: true, ..Flags::default() })),
        with_layout(floats(DType::Float32, &[1, 3], &[1.0; 3]), &[4, 3], &[0, 1]),
        f32s(&[123_456_789.125, 0.000_000_4]),
    ]
}

/// The calls of the script, in its order.
fn calls() -> Vec<Call> {
    let mut calls = vec![Call::Other(&SHOW, Vec::new(), Vec::new(), Value::None)];
    calls.extend(scalars().into_iter().map(Call::Echo));
    calls.extend(tensors().into_iter().map(Call::Echo));
    let ones = |count: usize| f32s(&vec![1.0; count]);
    let one = Value::Map(vec![(Value::text("k"), elements(DType::Int64, &[&1i64.to_le_bytes()]))]);
    let nested = Value::List(vec![ones(1), Value::List(vec![f32s(&[0.0; 2]), one])]);
    let object = || opaque("DemoWrapper", "<__main__.DemoWrapper object at 0x0>");
    calls.extend([
        Call::NotInRust("a tensor without memory"),
        Call::NotInRust("a sparse tensor"),
        Call::Other(
            &SHOW,
            vec![nested.clone()],
            vec![
                ("key", ones(2)),
                ("other", Value::List(vec![Value::int(1)])),
                ("empty", Value::tuple(Vec::new())),
            ],
            nested,
        ),
        Call::NotInRust("a class of FlashInfer's that its log knows by name"),
        Call::Other(&SHOW, Vec::new(), vec![("x__y", Value::int(1)), ("y", ones(1))], Value::None),
        Call::NotInRust("defaults of arguments"),
        Call::NotInRust("defaults of arguments"),
        Call::NotInRust("defaults of arguments"),
        Call::Other(
            &WRAPPER_RUN,
            vec![object(), ones(2)],
            vec![("return_lse", Value::Bool(true))],
            f32s(&[3.0; 2]),
        ),
        Call::NotInRust("a method without its class"),
        Call::Other(&WRAPPER_SHOW, vec![object()], Vec::new(), object()),
        Call::NotInRust("an exception leaves the block open; an error closes it"),
        Call::Echo(Value::tuple(vec![ones(1), Value::None, Value::int(3)])),
    ]);
    calls
}

/// Records the calls at a level; returns the log of each.
fn record(level: Level, marker: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.txt");
    let log: Arc<dyn LogSink> = Arc::new(StdioSink::open(&LogDestination::File(path.clone())).unwrap());
    let adapters = Adapters {
        log: Some(log),
        dumps: Some(Arc::new(MemorySink::default())),
        usage: None,
        clock: Arc::new(FixedClock::default()),
        host: Arc::new(FixedHost::default()),
    };
    let recorder = Recorder::new(Settings { level, ..Settings::default() }, adapters);
    for call in calls() {
        let (callsite, positional, keyword, result) = match &call {
            Call::Echo(value) => (&SHOW, std::slice::from_ref(value), &[][..], value),
            Call::Other(callsite, positional, keyword, result) => {
                (*callsite, positional.as_slice(), keyword.as_slice(), result)
            }
            Call::NotInRust(_) => (&SHOW, &[][..], &[][..], &Value::None),
        };
        let pending = recorder.begin(callsite, || LiveArguments {
            positional: positional.iter().map(live).collect(),
            keyword: keyword.iter().map(|(name, value)| (*name, live(value))).collect(),
            self_id: None,
        });
        pending.complete(|| live(result).into());
    }
    split(&fs::read_to_string(path).unwrap(), marker)
}

/// Cuts a log at the beginning of each call; what comes before the first is left out.
fn split(log: &str, marker: &str) -> Vec<String> {
    let masked = mask(log);
    masked.split(marker).skip(1).map(|call| call.trim_end_matches('\n').to_owned()).collect()
}

/// Masks times, addresses, the places of dumps and their number.
fn mask(log: &str) -> String {
    let mut masked = String::new();
    for line in log.lines() {
        let line = match (line.strip_prefix('['), line.split_once("dumped to: "), line.split_once("umped ")) {
            (Some(rest), _, _) if rest.get(19..20) == Some("]") => format!("[TIME]{}", &rest[20..]),
            (_, Some((group, _)), _) => format!("{group}dumped to: PLACE"),
            (_, _, Some(("D", rest))) => {
                let sizes = rest.split_once('(').map_or("", |(_, sizes)| sizes);
                let sizes = sizes.split("total: ").next().unwrap().split("total dump").next().unwrap();
                format!("Dumped {} to: PLACE ({sizes}", rest.split(' ').next().unwrap())
            }
            (_, _, _) => match line.split_once(" object at 0x") {
                Some((object, _)) => format!("{object} object at ADDRESS>"),
                None => line.to_owned(),
            },
        };
        masked.push_str(&line);
        masked.push('\n');
    }
    masked
}

#[track_caller]
fn check(level: Level, real: &str, marker: &str) {
    let (real, ours) = (split(real, marker), record(level, marker));
    let calls = calls();
    assert_eq!((real.len(), ours.len()), (calls.len(), calls.len()), "{level:?}");
    let mut left_out = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        match call {
            Call::Echo(_) | Call::Other(..) => {
                assert_eq!(ours[place], real[place], "{level:?}, call {place}")
            }
            Call::NotInRust(reason) => left_out.push(*reason),
        }
    }
    assert_eq!(left_out.len(), 8, "{left_out:?}");
}

const BLOCK: &str = "================================================================================\n[TIME] FlashInfer API Call: ";

#[test]
fn level_1_names_each_call() {
    check(Level::Names, include_str!("../data/logs/level1.txt"), "[TIME] FlashInfer API Call: ");
}

#[test]
fn level_3_shows_arguments_and_results() {
    check(Level::Values, include_str!("../data/logs/level3.txt"), BLOCK);
}

#[test]
fn level_5_adds_statistics() {
    check(Level::Statistics, include_str!("../data/logs/level5.txt"), BLOCK);
}

#[test]
fn level_10_adds_where_the_dumps_are() {
    check(Level::Dumps, include_str!("../data/logs/level10.txt"), "Dumped inputs to: PLACE ");
}
