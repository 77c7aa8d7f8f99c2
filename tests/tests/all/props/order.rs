//! The crash-safe order, for random nested programs: a fault at every operation, a crash after every operation.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Once};

use callbox_core::{
    Adapters, CallRecord, Callsite, DType, Ending, ExecutionStatus, Group, Layout, Level, LiveArguments,
    LiveValue, RecordedError, Recorder, Settings, TensorBuf, TensorView, Value,
};
use callbox_testkit::fixed::{FixedClock, FixedHost};
use callbox_testkit::memory_sink::{Fault, MemorySink, Operation};
use proptest::prelude::*;

static CALLSITE: Callsite = Callsite::new("engine::model", "layer", "(id, x)");

/// A call of a program, and the calls that it makes before it ends.
#[derive(Clone, Debug)]
struct Call {
    takes_tensor: bool,
    gives_tensor: bool,
    writes_argument: bool,
    end: End,
    children: Vec<Call>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Returns,
    Fails,
    Panics,
}

/// What the program itself saw of one call.
#[derive(Clone, Debug)]
struct Seen {
    call: Call,
    /// Operations that were done when its body began.
    operations_before: usize,
}

fn call() -> impl Strategy<Value = Call> {
    let end = prop_oneof![4 => Just(End::Returns), 1 => Just(End::Fails), 1 => Just(End::Panics)];
    let leaf = (any::<bool>(), any::<bool>(), any::<bool>(), end).prop_map(
        |(takes_tensor, gives_tensor, writes_argument, end)| Call {
            takes_tensor,
            gives_tensor,
            writes_argument,
            end,
            children: Vec::new(),
        },
    );
    leaf.clone().prop_recursive(3, 8, 3, move |inner| {
        (leaf.clone(), prop::collection::vec(inner, 0..3))
            .prop_map(|(call, children)| Call { children, ..call })
    })
}

/// The one byte of a call's argument, of its result, and of its argument afterwards.
fn bytes_of(id: usize) -> [[u8; 1]; 3] {
    let id = id as u8;
    [[id], [id ^ 0x55], [id ^ 0xaa]]
}

fn tensor(byte: &[u8; 1]) -> LiveValue<'_> {
    Value::Tensor(TensorView::new(DType::UInt8, Layout::contiguous(&[1]).unwrap(), byte).unwrap())
}

struct Program<'a> {
    recorder: &'a Recorder,
    sink: &'a MemorySink,
    seen: RefCell<Vec<Seen>>,
}

impl Program<'_> {
    /// Makes a call as an annotated function does; returns what its caller gets.
    fn run(&self, call: &Call) -> Result<usize, String> {
        let id = self.seen.borrow().len();
        // The body has not begun: a call that never runs is found by this.
        self.seen.borrow_mut().push(Seen { call: call.clone(), operations_before: usize::MAX });
        let [input, output, after] = bytes_of(id);
        let pending = self.recorder.begin(&CALLSITE, || LiveArguments {
            positional: vec![Value::int(id as i64)],
            keyword: call.takes_tensor.then(|| ("x", tensor(&input))).into_iter().collect(),
            self_id: None,
        });
        let (result, pending) = pending.run(|| self.body(id, call));
        match &result {
            Err(text) => pending.fail(|| RecordedError {
                kind: "error".to_owned(),
                type_name: "String".to_owned(),
                text: text.clone(),
            }),
            Ok(_) => pending.complete(|| callbox_core::LiveResult {
                value: if call.gives_tensor { tensor(&output) } else { Value::None },
                written: (call.takes_tensor && call.writes_argument)
                    .then(|| (callbox_core::ArgumentPlace::Keyword("x"), tensor(&after)))
                    .into_iter()
                    .collect(),
            }),
        }
        result
    }

    fn body(&self, id: usize, call: &Call) -> Result<usize, String> {
        let before = std::mem::replace(
            &mut self.seen.borrow_mut()[id].operations_before,
            self.sink.operations().len(),
        );
        assert_eq!(before, usize::MAX, "call {id} ran twice");
        for child in &call.children {
            self.run_to_its_end(child);
        }
        match call.end {
            End::Returns => Ok(id),
            End::Fails => Err(format!("error of {id}")),
            End::Panics => panic!("panic of {id}"),
        }
    }

    /// Makes a call and checks that its caller gets what is its own.
    fn run_to_its_end(&self, call: &Call) {
        let id = self.seen.borrow().len();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run(call)));
        match (call.end, outcome) {
            (End::Returns, Ok(result)) => assert_eq!(result, Ok(id)),
            (End::Fails, Ok(result)) => assert_eq!(result, Err(format!("error of {id}"))),
            (End::Panics, Err(panic)) if panic.downcast_ref() == Some(&format!("panic of {id}")) => {}
            (_, Err(panic)) => resume_unwind(panic),
            (End::Panics, Ok(result)) => panic!("call {id} panicked and returned {result:?}"),
        }
    }
}

/// Runs a program with a fault at operation `at` (0: none); returns how many operations there were.
fn check(program: &[Call], at: usize, fault: Fault) -> usize {
    let sink = MemorySink::default();
    sink.fail_at(at, fault);
    let recorder = Recorder::new(
        Settings { level: Level::Dumps, ..Settings::default() },
        Adapters {
            log: None,
            dumps: Some(Arc::new(sink.clone())),
            usage: None,
            clock: Arc::new(FixedClock::default()),
            host: Arc::new(FixedHost::default()),
        },
    );
    let run = Program { recorder: &recorder, sink: &sink, seen: RefCell::default() };
    program.iter().for_each(|call| run.run_to_its_end(call));

    let operations = sink.operations();
    let seen = run.seen.into_inner();
    inputs_came_before_their_call(&operations, &seen);
    for crash in 0..=operations.len() {
        nothing_is_invented(&operations[..crash], &seen);
    }
    let health = recorder.health();
    assert_eq!((health.reached, health.running()), (seen.len() as u64, 0));
    if at == 0 {
        assert_eq!(health.count(Ending::Recorded) + health.count(Ending::Failed), seen.len() as u64);
    }
    operations.len()
}

/// If a call left anything, its inputs and both lines were there before it ran; else it left nothing at all.
fn inputs_came_before_their_call(operations: &[Operation], seen: &[Seen]) {
    let discarded = |place: &str| {
        operations.iter().any(|done| matches!(done, Operation::Discard { place: gone } if gone == place))
    };
    for (id, Seen { call, operations_before }) in seen.iter().enumerate() {
        let before = &operations[..*operations_before];
        let line = position(
            operations,
            |done| matches!(done, Operation::Append { place, record } if id_of(record) == id && !discarded(place)),
        );
        let Some(line) = line else { continue };
        let Operation::Append { place, record } = &operations[line] else { unreachable!() };
        assert_eq!(record.status, ExecutionStatus::InputsSaved, "the first line of call {id}");
        if call.takes_tensor {
            let put = position(
                before,
                |done| matches!(done, Operation::Put { place: put, group: Group::Inputs, .. } if put == place),
            );
            assert!(put.is_some_and(|put| put < line), "inputs of call {id} come before their line");
        }
        let logged =
            position(before, |done| matches!(done, Operation::Log { record } if id_of(record) == id));
        assert!(
            line < *operations_before && logged.is_some_and(|logged| line < logged),
            "lines of call {id}"
        );
    }
}

/// What a reader sees of any prefix: lines of calls that were made, whose files are there and hold what the call had.
fn nothing_is_invented(operations: &[Operation], seen: &[Seen]) {
    for (at, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Append { place, record } => {
                let call = &seen[id_of(record)].call;
                let put = |group| {
                    operations[..at].iter().find_map(|done| match done {
                        Operation::Put { place: put, group: of, tensors } if put == place && *of == group => {
                            Some(tensors)
                        }
                        _ => None,
                    })
                };
                line_is_true(call, record, &put);
            }
            Operation::Log { record } => {
                let appended = operations[..at].iter().any(
                    |done| matches!(done, Operation::Append { record: appended, .. } if appended == record),
                );
                assert!(appended, "the session never says more than the call's own lines");
            }
            Operation::Plan
            | Operation::Open { .. }
            | Operation::Put { .. }
            | Operation::Publish { .. }
            | Operation::Discard { .. } => {}
        }
    }
}

fn line_is_true<'a>(
    call: &Call,
    record: &CallRecord,
    put: &dyn Fn(Group) -> Option<&'a Vec<(String, TensorBuf)>>,
) {
    let id = id_of(record);
    let [input, output, after] = bytes_of(id);
    let holds = |group, key: &str, byte: [u8; 1]| {
        let tensors = put(group).unwrap_or_else(|| panic!("{group:?} of call {id} come before their line"));
        let found: Vec<_> = tensors.iter().map(|(key, tensor)| (key.as_str(), tensor.to_bytes())).collect();
        assert_eq!(found, [(key, byte.to_vec())]);
    };
    if call.takes_tensor {
        holds(Group::Inputs, "kwarg_x", input);
    }
    match record.status {
        ExecutionStatus::InputsSaved => {}
        ExecutionStatus::Completed => {
            assert_eq!(call.end, End::Returns);
            if call.gives_tensor {
                holds(Group::Outputs, "result", output);
            }
            if call.takes_tensor && call.writes_argument {
                holds(Group::ArgsAfter, "kwarg_x", after);
            }
        }
        ExecutionStatus::Failed => assert_ne!(call.end, End::Returns),
        ExecutionStatus::OutputsSkipped => {
            assert_eq!(call.end, End::Returns);
            assert!(record.reason.is_some(), "a reason is given");
        }
        ExecutionStatus::GraphCapturePendingFlush | ExecutionStatus::Other(_) => {
            panic!("no call has the status {}", record.status)
        }
    }
}

fn id_of(record: &CallRecord) -> usize {
    match record.input_metadata.iter().find(|(key, _)| key == "arg_0") {
        Some((_, Value::Int(id))) => id.to_string().parse().unwrap(),
        other => panic!("the first argument is the call's number: {other:?}"),
    }
}

fn position(operations: &[Operation], is_meant: impl FnMut(&Operation) -> bool) -> Option<usize> {
    operations.iter().position(is_meant)
}

/// The programs panic on purpose, thousands of times.
fn silence_panics_of_programs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_planned =
                info.payload().downcast_ref::<String>().is_some_and(|text| text.starts_with("panic of "));
            if !is_planned {
                before(info);
            }
        }));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_holds_whatever_fails_and_wherever_the_process_dies(
        program in prop::collection::vec(call(), 1..4),
    ) {
        silence_panics_of_programs();
        let operations = check(&program, 0, Fault::Error);
        for at in 1..=operations {
            for fault in [Fault::Error, Fault::ErrorAfterEffect, Fault::Panic] {
                check(&program, at, fault);
            }
        }
    }
}
