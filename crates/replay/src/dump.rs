//! Replaying one recorded call.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{self, AssertUnwindSafe};

use callbox_core::error::chain;
use callbox_core::{
    Arguments, CallRecord, CallState, Contract, DumpSource, DumpedCall, ExecError, ExecutionStatus, Executor,
    Finding, Group, Instance, LoadedTensor, OwnedValue, ProcessKey, TensorBuf, TensorMap, Value,
};

use crate::compare::{self, CompareOptions, Comparison};
use crate::rebuild::{self, RebuildError};
use crate::verdict::{Outcome, Verdict};

/// What to do with a recorded call.
#[derive(Clone, Copy, Debug)]
pub struct ReplayOptions {
    /// Runs the call; otherwise only its arguments are rebuilt.
    pub run: bool,
    /// Loads the recorded result and compares.
    pub compare: bool,
    /// How to compare.
    pub comparison: CompareOptions,
}

/// Runs and compares with the default tolerances.
impl Default for ReplayOptions {
    fn default() -> ReplayOptions {
        ReplayOptions { run: true, compare: true, comparison: CompareOptions::default() }
    }
}

/// One call after its replay.
#[derive(Debug)]
pub struct Replayed {
    /// The call as the session's index has it.
    pub call: DumpedCall,
    /// The verdict.
    pub verdict: Verdict,
    /// The call's own record, where it could be read.
    pub record: Option<CallRecord>,
    /// The rebuilt arguments, as the call left them.
    pub arguments: Option<Arguments>,
    /// What the executor returned.
    pub result: Option<OwnedValue>,
    /// What was recorded as returned.
    pub expected: Option<OwnedValue>,
    /// The recorded result tensors by key.
    pub expected_tensors: TensorMap,
    /// How the two compare.
    pub comparison: Option<Comparison>,
    /// Remarks about the call's files.
    pub findings: Vec<Finding>,
    /// Nothing was tried, for a reason that is not the call's: the device was lost in an earlier one.
    pub is_untried: bool,
}

impl Replayed {
    fn new(call: &DumpedCall) -> Replayed {
        Replayed {
            call: call.clone(),
            verdict: Verdict::NothingCompared,
            record: None,
            arguments: None,
            result: None,
            expected: None,
            expected_tensors: TensorMap::default(),
            comparison: None,
            findings: Vec::new(),
            is_untried: false,
        }
    }

    /// Lets go of arguments, results and tensors, and keeps the verdict and the figures.
    ///
    /// The result of an incomplete call stays: it is all there is to show of it, and such calls are few.
    pub fn forget_values(&mut self) {
        self.arguments = None;
        if !matches!(self.verdict, Verdict::Incomplete { .. }) {
            self.result = None;
        }
        self.expected = None;
        self.expected_tensors = TensorMap::default();
    }
}

/// Objects that replayed constructors built, by process and recorded identity.
///
/// Identities are addresses and are reused: a later constructor with a known identity ends the earlier object,
/// also where its own replay fails.
#[derive(Debug, Default)]
pub struct Objects {
    instances: HashMap<(ProcessKey, u64), Object>,
    /// Objects that may not be what they were: a call on them is damaged and could not be run.
    missed: HashMap<(ProcessKey, u64), Missed>,
}

/// A damaged call on an object.
#[derive(Debug)]
struct Missed {
    name: String,
    /// It was there for what it does to the object.
    prepares: bool,
}

#[derive(Debug)]
struct Object {
    class: String,
    instance: Box<dyn Instance>,
}

impl Objects {
    /// Returns the damaged call before this one, on its object.
    fn missed_before(&self, call: &DumpedCall) -> Option<&Missed> {
        self.missed.get(&(call.process.clone(), call.self_id?))
    }

    /// Keeps that a call on an object was not run. Of several, one that prepares the object counts most.
    fn miss(&mut self, call: &DumpedCall) {
        let Some(self_id) = call.self_id else { return };
        let missed = Missed { name: call.function.name().to_owned(), prepares: call.outputs.tensors == 0 };
        match self.missed.entry((call.process.clone(), self_id)) {
            Entry::Vacant(entry) => drop(entry.insert(missed)),
            Entry::Occupied(mut entry) if missed.prepares => drop(entry.insert(missed)),
            Entry::Occupied(_) => {}
        }
    }
}

/// Replays one call: rebuilds its arguments, runs it, compares its result.
///
/// Never fails: whatever goes wrong is the verdict of this call, and the next one can go on. A method finds
/// its object in `objects`, where the replay of the constructor has put it.
pub fn replay_from_dump(
    source: &dyn DumpSource,
    call: &DumpedCall,
    executor: &mut dyn Executor,
    objects: &mut Objects,
    options: &ReplayOptions,
) -> Replayed {
    let mut replayed = Replayed::new(call);
    replayed.verdict = match replay(source, executor, objects, options, &mut replayed) {
        Ok(verdict) | Err(verdict) => verdict,
    };
    let was_run = replayed.arguments.is_some();
    match (&replayed.verdict, objects.missed_before(call)) {
        (Verdict::Damaged { .. }, _) if !was_run => objects.miss(&replayed.call),
        (Verdict::Mismatch | Verdict::Failed { .. }, Some(Missed { name, .. })) => {
            let reason = format!("its object may be another than it was: {name} before it is damaged");
            replayed.verdict = Verdict::Skipped { reason };
        }
        _ => {}
    }
    replayed
}

/// Does the work; an early end is a verdict too.
fn replay(
    source: &dyn DumpSource,
    executor: &mut dyn Executor,
    objects: &mut Objects,
    options: &ReplayOptions,
    replayed: &mut Replayed,
) -> Result<Verdict, Verdict> {
    let constructed = constructed_object(&replayed.call);
    if let Some(key) = &constructed {
        objects.instances.remove(key);
        objects.missed.remove(key);
    }
    refuse_unusable(&replayed.call)?;
    let loaded = source.record(&replayed.call).map_err(damaged)?;
    replayed.findings = loaded.findings;
    let record = replayed.record.insert(loaded.record);
    believe_record(&mut replayed.call, record);
    if is_unflushed(record) {
        return Err(not_run(
            &replayed.call.state,
            "captured into a CUDA graph, it ended before anything was written of it",
        ));
    }
    replayed.findings.extend(overwritten(&replayed.call, record));
    let call = replayed.call.clone();

    // Files are loaded before anybody is asked for the function: damage is told of every call.
    let findings = &mut replayed.findings;
    let inputs = load(source, &call, Group::Inputs, &record.tensor_info.input_keys, findings)?;
    let compare = options.compare && call.state == CallState::Completed;
    let outputs = match compare {
        true => load(source, &call, Group::Outputs, &record.tensor_info.output_keys, findings),
        false => Ok(TensorMap::default()),
    };
    let contract = executor.contract(&record.function);
    if outputs.is_err() && (record.self_id.is_none() || contract.is_none()) {
        return outputs.map(|_| Verdict::NothingCompared);
    }
    if options.run && contract.is_none() {
        return Err(not_run(&call.state, &ExecError::NoExecutor(record.function.clone()).to_string()));
    }
    if let Some(Missed { name, prepares: true }) = objects.missed_before(&call) {
        return Err(not_run(&call.state, &format!("its object was lost: {name}: damaged")));
    }
    let mut arguments = rebuild::arguments(record, &inputs).map_err(unusable)?;
    drop(inputs);
    let outputs = outputs.and_then(|tensors| {
        if compare {
            replayed.expected = Some(rebuild::result(record, &tensors).map_err(unusable)?);
        }
        replayed.expected_tensors = tensors;
        Ok(())
    });
    let Some(contract) = contract.filter(|_| options.run) else {
        replayed.arguments = Some(arguments);
        return Err(not_run(&call.state, "only its arguments were asked for"));
    };
    let result = run(record, &call, executor, objects, &mut arguments);
    let arguments = replayed.arguments.insert(arguments);
    // It was run for what it does to its object.
    outputs?;
    let result = match (result, is_incomplete(&call.state)) {
        (Ok(result), false) => replayed.result.insert(result),
        (Ok(result), true) => {
            replayed.result = Some(result);
            return Ok(Verdict::Incomplete { outcome: Outcome::Ran });
        }
        (Err(error @ ExecError::DeviceLost(_)), _) => {
            replayed.is_untried = true;
            return Err(not_run(&call.state, &chain(&error)));
        }
        // As where there is no executor: it says something of the device, and of the call nothing.
        (Err(error @ (ExecError::NoKernel { .. } | ExecError::NoKernelFor { .. })), _) => {
            return Err(not_run(&call.state, &chain(&error)));
        }
        (Err(error), false) => return Err(Verdict::Failed { error: chain(&error) }),
        (Err(error), true) => {
            return Err(Verdict::Incomplete { outcome: Outcome::Failed(chain(&error)) });
        }
    };
    let Some(expected) = &replayed.expected else {
        return Ok(Verdict::NothingCompared);
    };
    let keys = &record.tensor_info.args_after_keys;
    let written = load(source, &call, Group::ArgsAfter, keys, &mut replayed.findings)?;
    let written = after_images(record, arguments, &written)?;
    let comparison = compare_call(&contract, &written, expected, result, &options.comparison);
    let verdict = match (comparison.agrees(), comparison.compared) {
        (false, _) => Verdict::Mismatch,
        (true, 0) => Verdict::NothingCompared,
        (true, _) => Verdict::Passed,
    };
    replayed.comparison = Some(comparison);
    Ok(verdict)
}

/// Takes the call's own record for the truth: an index that is ahead of it promises outputs that it cannot name.
pub(crate) fn believe_record(call: &mut DumpedCall, record: &CallRecord) {
    if call.state == CallState::Completed && record.status != ExecutionStatus::Completed {
        call.state = CallState::OutputsUnconfirmed;
    }
}

/// Tells of a captured call that wrote into its arguments: a flush shows what they were afterwards.
fn overwritten(call: &DumpedCall, record: &CallRecord) -> Option<Finding> {
    let keys = &record.tensor_info.args_after_keys;
    (record.graph_capture && !keys.is_empty()).then(|| Finding {
        place: format!("{}/{}", call.folder, Group::Inputs.stem()),
        message: format!(
            "captured into a CUDA graph: {} is as the call left it, and what it was before is not known; where the call \
             reads it, a mismatch says nothing",
            keys.join(", ")
        ),
    })
}

/// Tells whether a captured call failed, or its result could not be described: no flush comes to it.
fn is_unflushed(record: &CallRecord) -> bool {
    let is_over = matches!(record.status, ExecutionStatus::Failed | ExecutionStatus::OutputsSkipped);
    is_over
        && record.graph_capture
        && record.graph_flush.is_none()
        && !record.tensor_info.input_keys.is_empty()
}

/// Ends the replay of calls that have nothing to run.
fn refuse_unusable(call: &DumpedCall) -> Result<(), Verdict> {
    match &call.state {
        CallState::Damaged { reason } => Err(Verdict::Damaged { reason: reason.clone() }),
        CallState::NotStarted => Err(Verdict::Skipped {
            reason: "the folder is empty: its recording failed before anything was written".to_owned(),
        }),
        CallState::GraphPending => Err(Verdict::Skipped {
            reason: "captured into a CUDA graph and never flushed: its tensors were not written".to_owned(),
        }),
        CallState::Completed
        | CallState::InputsSaved
        | CallState::OutputsUnconfirmed
        | CallState::Failed
        | CallState::OutputsSkipped
        | CallState::GraphCaptured => Ok(()),
    }
}

/// Returns what a constructor's object is known by.
fn constructed_object(call: &DumpedCall) -> Option<(ProcessKey, u64)> {
    let (_, method) = call.function.class_and_method()?;
    (method == "__init__").then_some((call.process.clone(), call.self_id?))
}

/// Tells whether nothing says what the call returned, though it may have.
pub(crate) fn is_incomplete(state: &CallState) -> bool {
    match state {
        CallState::InputsSaved | CallState::OutputsUnconfirmed | CallState::Failed => true,
        CallState::Completed
        | CallState::OutputsSkipped
        | CallState::GraphPending
        | CallState::GraphCaptured
        | CallState::NotStarted
        | CallState::Damaged { .. } => false,
    }
}

fn not_run(state: &CallState, reason: &str) -> Verdict {
    if is_incomplete(state) {
        return Verdict::Incomplete { outcome: Outcome::NotRun(reason.to_owned()) };
    }
    Verdict::Skipped { reason: reason.to_owned() }
}

fn load(
    source: &dyn DumpSource,
    call: &DumpedCall,
    group: Group,
    keys: &[String],
    findings: &mut Vec<Finding>,
) -> Result<TensorMap, Verdict> {
    if keys.is_empty() {
        return Ok(TensorMap::default());
    }
    let tensors = source.load(call, group).map_err(damaged)?;
    let tensors = tensors.ok_or_else(|| Verdict::Damaged {
        reason: format!("there is no file of {}, though the record names {}", group.stem(), keys.join(", ")),
    })?;
    findings.extend(Finding::unchecked(call, group, &tensors));
    Ok(tensors)
}

fn damaged(error: callbox_core::SourceError) -> Verdict {
    Verdict::Damaged { reason: chain(&error) }
}

/// What the recorder could not express is an error; what the files lack is damage.
fn unusable(error: RebuildError) -> Verdict {
    match error {
        RebuildError::MissingTensor(_)
        | RebuildError::Gap { .. }
        | RebuildError::Key(_)
        | RebuildError::TwoKinds(_) => Verdict::Damaged { reason: error.to_string() },
        RebuildError::NoElements { .. }
        | RebuildError::SharedKey(_)
        | RebuildError::DType { .. }
        | RebuildError::Truncated { .. } => Verdict::Failed { error: format!("cannot replay: {error}") },
    }
}

/// Runs a function, a constructor or a method. A panic of the executor is an error of this call.
///
/// An incomplete method runs on a copy of its object. If the process went on, the method had raised an exception,
/// and later calls found the object as it was before.
fn run(
    record: &CallRecord,
    call: &DumpedCall,
    executor: &mut dyn Executor,
    objects: &mut Objects,
    arguments: &mut Arguments,
) -> Result<OwnedValue, ExecError> {
    let (function, process) = (&record.function, &call.process);
    let body = AssertUnwindSafe(|| match (function.class_and_method(), record.self_id) {
        (Some((class, "__init__")), Some(self_id)) => {
            let instance = executor.construct(function, arguments)?;
            let object = Object { class: class.to_owned(), instance };
            objects.instances.insert((process.clone(), self_id), object);
            Ok(Value::None)
        }
        (Some((class, method)), Some(self_id)) => {
            let object = objects.instances.get_mut(&(process.clone(), self_id));
            match object.filter(|object| object.class == class) {
                Some(object) if is_incomplete(&call.state) => {
                    object.instance.duplicate().call(method, arguments)
                }
                Some(object) => object.instance.call(method, arguments),
                None => Err(ExecError::NotConstructed(class.to_owned())),
            }
        }
        (Some((class, _)), None) => Err(ExecError::NotConstructed(class.to_owned())),
        (None, _) => executor.call(function, arguments),
    });
    panic::catch_unwind(body).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(ExecError::Panicked(text.unwrap_or_else(|| "without a message".to_owned())))
    })
}

/// An argument's key, its recorded after-image, and what the replay left in it.
type AfterImage<'a> = (&'a str, &'a TensorBuf, &'a TensorBuf);

/// Pairs each recorded after-image with the argument that the replay left behind; one that is missing on either
/// side is damage.
fn after_images<'a>(
    record: &'a CallRecord,
    arguments: &'a Arguments,
    written: &'a TensorMap,
) -> Result<Vec<AfterImage<'a>>, Verdict> {
    let keys = &record.tensor_info.args_after_keys;
    let pair = |key: &'a String| match (written.get(key), rebuild::argument(record, arguments, key)) {
        (Some(LoadedTensor::Whole(expected)), Some(Value::Tensor(actual))) => {
            Ok((key.as_str(), expected, actual))
        }
        (_, _) => {
            let reason = format!("the after-image of `{key}` cannot be paired with an argument");
            Err(Verdict::Damaged { reason })
        }
    };
    keys.iter().map(pair).collect()
}

/// Compares the result, and the written arguments where their after-images were recorded.
///
/// A function that writes into an argument and returns nothing has nothing to compare without them: its
/// `None` says nothing of what it did.
fn compare_call(
    contract: &Contract,
    written: &[AfterImage<'_>],
    expected: &OwnedValue,
    result: &OwnedValue,
    options: &CompareOptions,
) -> Comparison {
    let mut comparison = compare::compare_written(written, options);
    let returns_nothing = matches!((expected, result), (Value::None, Value::None));
    if !returns_nothing || contract.writes.is_empty() {
        comparison.merge(compare::compare(expected, result, contract, options));
    }
    comparison
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, Device, FunctionName};
    use callbox_testkit::{MemorySource, sample};

    use super::*;

    /// Knows `double`, `fill` (writes into `x`, returns nothing), `fail`, `lost`, `panic` and the class `Adder`.
    #[derive(Debug)]
    struct Toy;

    #[derive(Debug)]
    struct Adder(f32);

    fn f32s(values: &[f32]) -> TensorBuf {
        TensorBuf::from_f32(DType::Float32, &[values.len()], values).unwrap()
    }

    fn first(arguments: &mut Arguments) -> &mut TensorBuf {
        match arguments.positional.first_mut() {
            Some(Value::Tensor(tensor)) => tensor,
            other => panic!("no tensor: {other:?}"),
        }
    }

    impl Executor for Toy {
        fn device(&self) -> Device {
            Device::Cpu
        }

        fn contract(&self, function: &FunctionName) -> Option<Contract> {
            let writes: &[&str] = if function.name() == "fill" { &["x"] } else { &[] };
            (function.module() == "toy").then(|| Contract { writes, ..Contract::default() })
        }

        fn call(
            &mut self,
            function: &FunctionName,
            arguments: &mut Arguments,
        ) -> Result<OwnedValue, ExecError> {
            if function.name() == "seven" {
                return Ok(Value::int(7));
            }
            let x = first(arguments);
            match function.name() {
                "double" => {
                    let doubled: Vec<f32> = x.to_f32().unwrap().iter().map(|v| v * 2.0).collect();
                    Ok(Value::Tensor(f32s(&doubled)))
                }
                "fill" => {
                    x.write_f32(&vec![7.0; x.numel()]).unwrap();
                    Ok(Value::None)
                }
                "panic" => panic!("out of luck"),
                "lost" => Err(ExecError::DeviceLost("illegal address".into())),
                "no_kernel" => Err(ExecError::NoKernel { kernel: "rms_norm", device: Device::Cuda(0) }),
                "no_kernel_for" => Err(ExecError::NoKernelFor {
                    argument: "x".to_owned(),
                    reason: "torch.float64".to_owned(),
                }),
                _ => Err(ExecError::MissingArgument("y".to_owned())),
            }
        }

        fn construct(
            &mut self,
            _: &FunctionName,
            arguments: &mut Arguments,
        ) -> Result<Box<dyn Instance>, ExecError> {
            if arguments.positional.is_empty() {
                return Err(ExecError::MissingArgument("x".to_owned()));
            }
            Ok(Box::new(Adder(first(arguments).to_f32().unwrap()[0])))
        }
    }

    impl Instance for Adder {
        fn duplicate(&self) -> Box<dyn Instance> {
            Box::new(Adder(self.0))
        }

        fn call(&mut self, method: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
            if method == "set" {
                self.0 = first(arguments).to_f32().unwrap()[0];
                return Ok(Value::None);
            }
            let sum: Vec<f32> = first(arguments).to_f32().unwrap().iter().map(|v| v + self.0).collect();
            Ok(Value::Tensor(f32s(&sum)))
        }
    }

    fn check(source: &MemorySource, call: &DumpedCall) -> Replayed {
        replay_from_dump(source, call, &mut Toy, &mut Objects::default(), &ReplayOptions::default())
    }

    fn doubled(result: &[f32]) -> (MemorySource, DumpedCall) {
        let mut source = MemorySource::default();
        let files: &[(Group, &[(&str, TensorBuf)])] = &[
            (Group::Inputs, &[("arg_0", f32s(&[1.0, 2.0]))]),
            (Group::Outputs, &[("result", f32s(result))]),
        ];
        let call = source.push(sample::record("toy", "double"), files);
        (source, call)
    }

    fn none_returned(name: &str, after: Option<&[f32]>) -> Verdict {
        let mut source = MemorySource::default();
        let mut record = sample::record("toy", name);
        record.output_metadata.push(("result".to_owned(), Value::None));
        let inputs = [("arg_0", f32s(&[1.0]))];
        let after: Vec<_> = after.iter().map(|values| ("arg_0", f32s(values))).collect();
        let call = source.push(record, &[(Group::Inputs, &inputs), (Group::ArgsAfter, &after)]);
        check(&source, &call).verdict
    }

    #[test]
    fn a_call_that_gives_the_recorded_result_passes_and_another_does_not() {
        let (source, call) = doubled(&[2.0, 4.0]);
        assert_eq!(check(&source, &call).verdict, Verdict::Passed);
        let (source, call) = doubled(&[2.0, 5.0]);
        let replayed = check(&source, &call);
        assert_eq!(replayed.verdict, Verdict::Mismatch);
        assert_eq!(replayed.comparison.unwrap().tensors[0].differing, 1);
        assert!(replayed.expected_tensors.get("result").is_some() && replayed.arguments.is_some());
    }

    #[test]
    fn u40_what_is_written_and_not_returned_needs_an_after_image() {
        assert_eq!(none_returned("fill", None), Verdict::NothingCompared);
        assert_eq!(none_returned("fill", Some(&[7.0])), Verdict::Passed);
        assert_eq!(none_returned("fill", Some(&[8.0])), Verdict::Mismatch);
    }

    #[test]
    fn u44_a_call_without_tensors_is_replayed_and_u41_its_value_is_compared() {
        for (recorded, verdict) in [(7, Verdict::Passed), (8, Verdict::Mismatch)] {
            let mut source = MemorySource::default();
            let mut record = sample::record("toy", "seven");
            record.output_metadata.push(("result".to_owned(), Value::int(recorded)));
            let call = source.push(record, &[]);
            assert_eq!(check(&source, &call).verdict, verdict);
        }
    }

    #[test]
    fn elements_without_a_checksum_are_told_of() {
        let (mut source, call) = doubled(&[2.0, 4.0]);
        assert!(check(&source, &call).findings.is_empty());
        source.leave_unchecked(&call, Group::Outputs, "data/0");
        let replayed = check(&source, &call);
        assert_eq!(replayed.verdict, Verdict::Passed);
        assert_eq!(replayed.findings[0].place, format!("{}/outputs", call.folder));
        assert!(replayed.findings[0].message.starts_with("not checked: whoever wrote `data/0` left out"));
    }

    #[test]
    fn an_error_and_a_panic_are_verdicts_of_their_call() {
        assert_eq!(none_returned("fail", None), Verdict::Failed { error: "argument `y` is missing".into() });
        let Verdict::Failed { error } = none_returned("panic", None) else { panic!("not failed") };
        assert!(error.ends_with("panicked: out of luck"), "{error}");
    }

    #[test]
    fn u50_u51_an_unknown_function_is_skipped_and_nothing_is_imported() {
        let mut source = MemorySource::default();
        let call = source.push(sample::record("os", "system"), &[]);
        let reason = "no executor for os.system".to_owned();
        assert_eq!(check(&source, &call).verdict, Verdict::Skipped { reason });
    }

    #[test]
    fn a_suspected_crash_is_run_and_not_compared() {
        for (name, outcome) in
            [("double", Outcome::Ran), ("fail", Outcome::Failed("argument `y` is missing".into()))]
        {
            let mut source = MemorySource::default();
            let mut record = sample::record("toy", name);
            record.status = ExecutionStatus::InputsSaved;
            let call = source.push(record, &[(Group::Inputs, &[("arg_0", f32s(&[1.0]))])]);
            assert_eq!(check(&source, &call).verdict, Verdict::Incomplete { outcome });
        }
    }

    #[test]
    fn a_call_that_failed_while_it_was_captured_has_no_files_and_no_damage() {
        let reason = "captured into a CUDA graph, it ended before anything was written of it".to_owned();
        for (status, verdict) in [
            (ExecutionStatus::Failed, Verdict::Incomplete { outcome: Outcome::NotRun(reason.clone()) }),
            (ExecutionStatus::OutputsSkipped, Verdict::Skipped { reason: reason.clone() }),
        ] {
            let mut source = MemorySource::default();
            let mut record = sample::record("toy", "double");
            record.status = status;
            record.graph_capture = true;
            record.tensor_info.input_keys = vec!["arg_0".to_owned()];
            let call = source.push(record, &[]);
            assert_eq!(check(&source, &call).verdict, verdict);
        }
    }

    #[test]
    fn an_index_ahead_of_the_call_s_own_record_is_not_believed() {
        let mut source = MemorySource::default();
        let mut record = sample::record("toy", "double");
        record.status = ExecutionStatus::InputsSaved;
        let mut call = source.push(record, &[(Group::Inputs, &[("arg_0", f32s(&[1.0]))])]);
        call.state = CallState::Completed;
        assert_eq!(check(&source, &call).verdict, Verdict::Incomplete { outcome: Outcome::Ran });
    }

    #[test]
    fn a_lost_file_is_damage() {
        let (mut source, call) = doubled(&[2.0, 4.0]);
        source.lose(&call, Group::Outputs);
        let Verdict::Damaged { reason } = check(&source, &call).verdict else { panic!("not damaged") };
        assert_eq!(reason, "there is no file of outputs, though the record names result");
    }

    #[test]
    fn a_method_finds_the_object_that_its_constructor_built() {
        let mut source = MemorySource::default();
        let method = |name: &str, self_id| {
            let mut record = sample::record("toy", name);
            record.self_id = Some(self_id);
            record
        };
        let one = [("arg_0", f32s(&[1.0]))];
        let mut constructor = method("Adder.__init__", 5);
        constructor.output_metadata.push(("result".to_owned(), Value::None));
        let calls = [
            source.push(constructor, &[(Group::Inputs, &one)]),
            source.push(
                method("Adder.add", 5),
                &[(Group::Inputs, &one), (Group::Outputs, &[("result", f32s(&[2.0]))])],
            ),
            source.push(
                method("Adder.add", 6),
                &[(Group::Inputs, &one), (Group::Outputs, &[("result", f32s(&[2.0]))])],
            ),
        ];
        let mut objects = Objects::default();
        let options = ReplayOptions::default();
        let verdicts =
            calls.map(|call| replay_from_dump(&source, &call, &mut Toy, &mut objects, &options).verdict);
        assert_eq!(verdicts[..2], [Verdict::Passed, Verdict::Passed]);
        let error = "the object was never constructed in this session (it is a clone, or older than the recording): Adder".to_owned();
        assert_eq!(verdicts[2], Verdict::Failed { error });
    }

    /// Replays a constructor of each class under one identity, `broken` ones without their argument, then
    /// `method`.
    fn after_constructors(classes: &[(&str, bool)], method: &str) -> Verdict {
        let mut source = MemorySource::default();
        let one = [("arg_0", f32s(&[1.0]))];
        let record = |name: String| {
            let mut record = sample::record("toy", &name);
            record.self_id = Some(5);
            record
        };
        for (class, broken) in classes {
            let inputs: &[_] = if *broken { &[] } else { &one };
            source.push(record(format!("{class}.__init__")), &[(Group::Inputs, inputs)]);
        }
        let outputs = [("result", f32s(&[2.0]))];
        source.push(record(method.to_owned()), &[(Group::Inputs, &one), (Group::Outputs, &outputs)]);
        let (mut objects, options) = (Objects::default(), ReplayOptions::default());
        let calls = source.calls().unwrap().calls;
        let verdicts = calls
            .iter()
            .map(|call| replay_from_dump(&source, call, &mut Toy, &mut objects, &options).verdict);
        verdicts.last().unwrap()
    }

    #[test]
    fn an_object_answers_only_to_its_own_class_and_only_while_it_lives() {
        assert_eq!(after_constructors(&[("Adder", false)], "Adder.add"), Verdict::Passed);
        let gone = |class| Verdict::Failed { error: ExecError::NotConstructed(class).to_string() };
        assert_eq!(after_constructors(&[("Adder", false)], "Other.add"), gone("Other".to_owned()));
        let replaced = after_constructors(&[("Adder", false), ("Adder", true)], "Adder.add");
        assert_eq!(replaced, gone("Adder".to_owned()));
        let built_again = [("Adder", true), ("Adder", false)];
        assert_eq!(after_constructors(&built_again, "Adder.add"), Verdict::Passed);
    }

    #[test]
    fn a_damaged_call_costs_those_on_its_object_only_where_it_cannot_be_run() {
        // The first value is set to 1, then to what the damaged call has, and 1 is added.
        let check = |inputs: Option<f32>, outputs: Option<f32>| {
            let mut source = MemorySource::default();
            let mut push = |name: &str, inputs: Option<f32>, outputs: Option<f32>| {
                let mut record = sample::record("toy", name);
                record.self_id = Some(5);
                record.tensor_info.input_keys = vec!["arg_0".to_owned()];
                record.tensor_info.output_keys = vec!["result".to_owned()];
                let tensors = |key, value: Option<f32>| value.map(|value| (key, f32s(&[value])));
                let (inputs, outputs) = (tensors("arg_0", inputs), tensors("result", outputs));
                let groups = [(Group::Inputs, inputs.as_slice()), (Group::Outputs, outputs.as_slice())];
                let groups: Vec<_> = groups.into_iter().filter(|(_, tensors)| !tensors.is_empty()).collect();
                source.push(record, &groups)
            };
            let calls = [
                push("Adder.__init__", Some(1.0), Some(0.0)),
                push("Adder.set", inputs, outputs),
                push("Adder.add", Some(1.0), Some(51.0)),
            ];
            let (mut objects, options) = (Objects::default(), ReplayOptions::default());
            calls.map(|call| replay_from_dump(&source, &call, &mut Toy, &mut objects, &options).verdict)
        };
        let [_, set, add] = check(Some(50.0), None);
        assert!(matches!(set, Verdict::Damaged { .. }), "{set:?}");
        assert_eq!(add, Verdict::Passed, "it was run all the same");
        // It returns a tensor, so it may have left the object alone: the next call is tried.
        let [_, set, add] = check(None, Some(0.0));
        assert!(matches!(set, Verdict::Damaged { .. }), "{set:?}");
        let reason = "its object may be another than it was: Adder.set before it is damaged";
        assert_eq!(add, Verdict::Skipped { reason: reason.to_owned() });
    }

    #[test]
    fn an_incomplete_method_leaves_its_object_as_it_was() {
        let mut source = MemorySource::default();
        let mut push = |name: &str, status, input: f32, output: Option<f32>| {
            let mut record = sample::record("toy", name);
            (record.self_id, record.status) = (Some(5), status);
            let outputs: Vec<_> = output.into_iter().map(|value| ("result", f32s(&[value]))).collect();
            source.push(record, &[(Group::Inputs, &[("arg_0", f32s(&[input]))]), (Group::Outputs, &outputs)])
        };
        let calls = [
            push("Adder.__init__", ExecutionStatus::Completed, 1.0, None),
            push("Adder.set", ExecutionStatus::InputsSaved, 50.0, None),
            push("Adder.add", ExecutionStatus::Completed, 1.0, Some(2.0)),
        ];
        let (mut objects, options) = (Objects::default(), ReplayOptions::default());
        let [_, set, add] =
            calls.map(|call| replay_from_dump(&source, &call, &mut Toy, &mut objects, &options).verdict);
        assert_eq!(set, Verdict::Incomplete { outcome: Outcome::Ran });
        assert_eq!(add, Verdict::Passed);
    }

    #[test]
    fn a_call_that_found_its_device_lost_was_not_tried() {
        for (status, expected) in [
            (
                ExecutionStatus::Completed,
                Verdict::Skipped { reason: "device lost: illegal address".to_owned() },
            ),
            (
                ExecutionStatus::InputsSaved,
                Verdict::Incomplete { outcome: Outcome::NotRun("device lost: illegal address".to_owned()) },
            ),
        ] {
            let mut source = MemorySource::default();
            let mut record = sample::record("toy", "lost");
            record.status = status;
            record.output_metadata.push(("result".to_owned(), Value::None));
            let call = source.push(record, &[(Group::Inputs, &[("arg_0", f32s(&[1.0]))])]);
            let replayed = check(&source, &call);
            assert_eq!((&replayed.verdict, replayed.is_untried), (&expected, true));
        }
    }

    #[test]
    fn a_call_that_its_device_has_no_kernel_for_was_not_tried_and_need_not_be_again() {
        for (name, reason) in [
            ("no_kernel", "no kernel `rms_norm` on cuda:0"),
            ("no_kernel_for", "the device has no kernel for argument `x`: torch.float64"),
        ] {
            let not_run = Outcome::NotRun(reason.to_owned());
            for (status, expected) in [
                (ExecutionStatus::Completed, Verdict::Skipped { reason: reason.to_owned() }),
                (ExecutionStatus::InputsSaved, Verdict::Incomplete { outcome: not_run }),
            ] {
                let mut source = MemorySource::default();
                let mut record = sample::record("toy", name);
                record.status = status;
                record.output_metadata.push(("result".to_owned(), Value::None));
                let call = source.push(record, &[(Group::Inputs, &[("arg_0", f32s(&[1.0]))])]);
                let replayed = check(&source, &call);
                assert_eq!((&replayed.verdict, replayed.is_untried), (&expected, false));
            }
        }
    }

    #[test]
    fn an_after_image_that_fits_no_argument_is_damage() {
        let mut source = MemorySource::default();
        let mut record = sample::record("toy", "fill");
        record.output_metadata.push(("result".to_owned(), Value::None));
        let (inputs, after) = ([("arg_0", f32s(&[1.0]))], [("arg_3", f32s(&[7.0]))]);
        let call = source.push(record, &[(Group::Inputs, &inputs), (Group::ArgsAfter, &after)]);
        assert!(matches!(check(&source, &call).verdict, Verdict::Damaged { .. }));
    }

    #[test]
    fn of_a_captured_call_that_wrote_into_an_argument_it_is_told_that_nobody_knows_what_was_there() {
        for graph_capture in [false, true] {
            let mut source = MemorySource::default();
            let mut record = sample::record("toy", "fill");
            record.graph_capture = graph_capture;
            record.output_metadata.push(("result".to_owned(), Value::None));
            let (inputs, after) = ([("arg_0", f32s(&[1.0]))], [("arg_0", f32s(&[7.0]))]);
            let call = source.push(record, &[(Group::Inputs, &inputs), (Group::ArgsAfter, &after)]);
            let findings = check(&source, &call).findings;
            let told = findings.iter().filter(|finding| {
                finding.message.starts_with("captured into a CUDA graph: arg_0 is as the call left it")
            });
            assert_eq!(told.count(), usize::from(graph_capture), "{findings:?}");
        }
    }

    #[test]
    fn arguments_of_an_unknown_function_can_be_rebuilt() {
        let mut source = MemorySource::default();
        let call =
            source.push(sample::record("os", "system"), &[(Group::Inputs, &[("arg_0", f32s(&[1.0]))])]);
        let options = ReplayOptions { run: false, ..ReplayOptions::default() };
        let replayed = replay_from_dump(&source, &call, &mut Toy, &mut Objects::default(), &options);
        assert_eq!(replayed.arguments.unwrap().positional.len(), 1);
    }

    #[test]
    fn arguments_can_be_rebuilt_without_running() {
        let (source, call) = doubled(&[2.0, 4.0]);
        let options = ReplayOptions { run: false, ..ReplayOptions::default() };
        let replayed = replay_from_dump(&source, &call, &mut Toy, &mut Objects::default(), &options);
        assert!(matches!(replayed.verdict, Verdict::Skipped { .. }));
        assert_eq!(replayed.arguments.unwrap().positional.len(), 1);
        assert!(replayed.result.is_none() && replayed.expected.is_some());
    }
}
