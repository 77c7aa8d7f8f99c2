//! What passes between a replay and its workers, and from a replay to the one that continues it: JSON lines.
//!
//! Numbers that JSON lacks are the strings `NaN`, `Infinity` and `-Infinity`. Both ends are the same program, and a
//! journal names the version that wrote it: nothing here has to be read by another version.

use std::time::Duration;

use callbox_core::{
    CallState, DType, DumpedCall, Finding, FunctionName, GroupSummary, ProcessKey, RecordedError,
};
use callbox_replay::{
    CallReport, CompareOptions, Comparison, Death, Difference, Outcome, ReplayOptions, Tolerance, Unit,
    Verdict, Worst,
};
use serde::{Deserialize, Serialize};

use crate::json_float::JsonFloat;

/// The first line that a worker reads: everything it has to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) memory: Option<u64>,
    options: Options,
    pub(crate) steps: Vec<Step>,
}

impl Request {
    pub(crate) fn new(memory: Option<u64>, options: &ReplayOptions, steps: Vec<Step>) -> Request {
        let ReplayOptions { run, compare, comparison: CompareOptions { rtol, atol, equal_nan } } = *options;
        let (rtol, atol) = (rtol.map(JsonFloat), atol.map(JsonFloat));
        Request { memory, options: Options { run, compare, rtol, atol, equal_nan }, steps }
    }

    pub(crate) fn replay_options(&self) -> ReplayOptions {
        let Options { run, compare, rtol, atol, equal_nan } = self.options;
        let (rtol, atol) = (rtol.map(|number| number.0), atol.map(|number| number.0));
        ReplayOptions { run, compare, comparison: CompareOptions { rtol, atol, equal_nan } }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Options {
    run: bool,
    compare: bool,
    rtol: Option<JsonFloat>,
    atol: Option<JsonFloat>,
    equal_nan: bool,
}

/// One call that a worker has to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) place: usize,
    /// A report is wanted; otherwise the call is run for what it does to its object.
    pub(crate) selected: bool,
    call: Call,
}

impl Step {
    pub(crate) fn new(place: usize, selected: bool, call: &DumpedCall) -> Step {
        Step { place, selected, call: Call::new(call) }
    }

    pub(crate) fn call(&self) -> DumpedCall {
        self.call.to_dumped()
    }
}

/// A listed call. The descriptions of its tensors are left out: they are for lists.
#[derive(Debug, Serialize, Deserialize)]
struct Call {
    folder: String,
    module: String,
    name: String,
    sequence: u64,
    timestamp: String,
    process: u64,
    origin: Option<(String, String)>,
    object: Option<u64>,
    #[serde(with = "State")]
    state: CallState,
    unstable: bool,
    flush: Option<u64>,
    inputs: (usize, u64),
    outputs: (usize, u64),
}

impl Call {
    fn new(call: &DumpedCall) -> Call {
        let origin = call.process.origin.as_ref();
        Call {
            folder: call.folder.clone(),
            module: call.function.module().to_owned(),
            name: call.function.name().to_owned(),
            sequence: call.call_sequence,
            timestamp: call.timestamp.clone(),
            process: call.process.process_id,
            origin: origin.map(|(host, random)| (host.to_string(), random.to_string())),
            object: call.self_id,
            state: call.state.clone(),
            unstable: call.is_unstable,
            flush: call.flush,
            inputs: (call.inputs.tensors, call.inputs.bytes),
            outputs: (call.outputs.tensors, call.outputs.bytes),
        }
    }

    fn to_dumped(&self) -> DumpedCall {
        let origin =
            self.origin.as_ref().map(|(host, random)| (host.as_str().into(), random.as_str().into()));
        let group = |(tensors, bytes)| GroupSummary { tensors, bytes };
        DumpedCall {
            folder: self.folder.clone(),
            function: FunctionName::new(self.module.clone(), self.name.clone()),
            call_sequence: self.sequence,
            timestamp: self.timestamp.clone(),
            process: ProcessKey { process_id: self.process, origin },
            self_id: self.object,
            state: self.state.clone(),
            is_unstable: self.unstable,
            flush: self.flush,
            inputs: group(self.inputs),
            outputs: group(self.outputs),
            tensor_details: Vec::new().into(),
        }
    }
}

/// What a worker answers, a line each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The call at this index of the request begins.
    Begin(usize),
    /// The call that began has ended; its report, where one is wanted.
    End(Option<Box<Report>>),
    /// All calls have ended, and their objects are gone.
    Done,
    /// No call can be run.
    Broken(String),
}

/// A [`CallReport`] without its call, which the reader has.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    #[serde(with = "State")]
    state: CallState,
    #[serde(with = "VerdictText")]
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_error: Option<(String, String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    returned: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Compared>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    findings: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    printed: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    untried: bool,
}

impl Report {
    pub(crate) fn new(report: &CallReport) -> Report {
        let error = report.recorded_error.as_ref();
        let finding = |finding: &Finding| (finding.place.clone(), finding.message.clone());
        Report {
            state: report.call.state.clone(),
            verdict: report.verdict.clone(),
            recorded_error: error.map(|e| (e.kind.clone(), e.type_name.clone(), e.text.clone())),
            recorded_reason: report.recorded_reason.clone(),
            returned: report.returned.clone(),
            comparison: report.comparison.as_ref().map(Compared::new),
            findings: report.findings.iter().map(finding).collect(),
            printed: report.printed.clone(),
            untried: report.is_untried,
        }
    }

    /// Gives the report on a listed call back; an error names what this program does not know.
    pub(crate) fn on(self, call: &DumpedCall) -> Result<CallReport, String> {
        let error = |(kind, type_name, text)| RecordedError { kind, type_name, text };
        let finding = |(place, message)| Finding { place, message };
        let mut report = CallReport::without_run(call, self.verdict);
        report.call.state = self.state;
        report.recorded_error = self.recorded_error.map(error);
        report.recorded_reason = self.recorded_reason;
        report.returned = self.returned;
        report.comparison = self.comparison.map(Compared::into_comparison).transpose()?;
        report.findings = self.findings.into_iter().map(finding).collect();
        report.printed = self.printed;
        report.is_untried = self.untried;
        Ok(report)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CallState", rename_all = "snake_case")]
enum State {
    Completed,
    InputsSaved,
    OutputsUnconfirmed,
    Failed,
    OutputsSkipped,
    GraphPending,
    GraphCaptured,
    NotStarted,
    Damaged { reason: String },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Verdict", rename_all = "snake_case")]
enum VerdictText {
    Passed,
    Mismatch,
    Failed {
        error: String,
    },
    Died {
        #[serde(with = "Ending")]
        death: Death,
    },
    Incomplete {
        #[serde(with = "OutcomeText")]
        outcome: Outcome,
    },
    NothingCompared,
    Skipped {
        reason: String,
    },
    Damaged {
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Outcome", rename_all = "snake_case")]
enum OutcomeText {
    Ran,
    Failed(String),
    Died(#[serde(with = "Ending")] Death),
    NotRun(String),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Death", rename_all = "snake_case")]
enum Ending {
    Crashed(String),
    TimedOut(Duration),
    OutOfMemory,
    Killed,
    Exited(i32),
}

#[derive(Debug, Serialize, Deserialize)]
struct Compared {
    compared: usize,
    tensors: Vec<Tensor>,
    differences: Vec<(String, String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tensor {
    place: String,
    dtype: String,
    shape: Vec<usize>,
    #[serde(with = "UnitText")]
    unit: Unit,
    compared: usize,
    differing: usize,
    forgiven: usize,
    tolerance: Option<(JsonFloat, JsonFloat)>,
    max_abs: JsonFloat,
    max_rel: JsonFloat,
    cosine: Option<JsonFloat>,
    worst: Option<(Vec<usize>, JsonFloat, JsonFloat)>,
    common: Vec<Option<usize>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Unit", rename_all = "snake_case")]
enum UnitText {
    Elements,
    Codes,
}

impl Compared {
    fn new(comparison: &Comparison) -> Compared {
        let difference = |d: &Difference| (d.place.clone(), d.expected.clone(), d.actual.clone());
        Compared {
            compared: comparison.compared,
            tensors: comparison.tensors.iter().map(Tensor::new).collect(),
            differences: comparison.differences.iter().map(difference).collect(),
        }
    }

    fn into_comparison(self) -> Result<Comparison, String> {
        let difference = |(place, expected, actual)| Difference { place, expected, actual };
        Ok(Comparison {
            compared: self.compared,
            tensors: self.tensors.into_iter().map(Tensor::into_comparison).collect::<Result<_, _>>()?,
            differences: self.differences.into_iter().map(difference).collect(),
        })
    }
}

impl Tensor {
    fn new(tensor: &callbox_replay::TensorComparison) -> Tensor {
        let worst = tensor.worst.as_ref();
        Tensor {
            place: tensor.place.clone(),
            dtype: tensor.dtype.name().to_owned(),
            shape: tensor.shape.clone(),
            unit: tensor.unit,
            compared: tensor.compared,
            differing: tensor.differing,
            forgiven: tensor.forgiven,
            tolerance: tensor
                .tolerance
                .map(|tolerance| (JsonFloat(tolerance.rtol), JsonFloat(tolerance.atol))),
            max_abs: JsonFloat(tensor.max_abs),
            max_rel: JsonFloat(tensor.max_rel),
            cosine: tensor.cosine.map(JsonFloat),
            worst: worst
                .map(|worst| (worst.index.clone(), JsonFloat(worst.expected), JsonFloat(worst.actual))),
            common: tensor.common.clone(),
        }
    }

    fn into_comparison(self) -> Result<callbox_replay::TensorComparison, String> {
        let dtype = DType::all().find(|dtype| dtype.name() == self.dtype);
        let tolerance = |(JsonFloat(rtol), JsonFloat(atol))| Tolerance { rtol, atol };
        let worst = |(index, JsonFloat(expected), JsonFloat(actual))| Worst { index, expected, actual };
        Ok(callbox_replay::TensorComparison {
            dtype: dtype.ok_or_else(|| format!("there is no dtype `{}`", self.dtype))?,
            place: self.place,
            shape: self.shape,
            unit: self.unit,
            compared: self.compared,
            differing: self.differing,
            forgiven: self.forgiven,
            tolerance: self.tolerance.map(tolerance),
            max_abs: self.max_abs.0,
            max_rel: self.max_rel.0,
            cosine: self.cosine.map(|number| number.0),
            worst: self.worst.map(worst),
            common: self.common,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with something in every field.
    pub(crate) fn full_report(call: &DumpedCall) -> CallReport {
        let tensor = callbox_replay::TensorComparison {
            place: "result".to_owned(),
            dtype: DType::BFloat16,
            shape: vec![4, 64],
            unit: Unit::Codes,
            compared: 256,
            differing: 3,
            forgiven: 1,
            tolerance: Some(Tolerance { rtol: 1.6e-2, atol: 0.1 + 0.2 }),
            max_abs: f64::NAN,
            max_rel: f64::INFINITY,
            cosine: Some(0.999_980_000_000_000_1),
            worst: Some(Worst { index: vec![1, 2], expected: -0.0, actual: f64::NEG_INFINITY }),
            common: vec![Some(1), None],
        };
        let difference = Difference {
            place: "result_1".to_owned(),
            expected: "1".to_owned(),
            actual: "\u{1b}\"\n".to_owned(),
        };
        let mut report = CallReport::without_run(call, Verdict::Mismatch);
        report.call.state = CallState::OutputsUnconfirmed;
        report.recorded_error = Some(RecordedError {
            kind: "error".to_owned(),
            type_name: "E".to_owned(),
            text: "text".to_owned(),
        });
        report.recorded_reason = Some("no room".to_owned());
        report.returned = Some("None".to_owned());
        report.comparison =
            Some(Comparison { tensors: vec![tensor], differences: vec![difference], compared: 257 });
        report.findings = vec![Finding { place: "a".to_owned(), message: "b".to_owned() }];
        report.printed = Some("last words".to_owned());
        report
    }

    /// Everything of a report, NaN included.
    pub(crate) fn text(report: &CallReport) -> String {
        format!("{report:?}")
    }

    fn call() -> DumpedCall {
        let mut source = callbox_testkit::MemorySource::default();
        let mut call = source.push(callbox_testkit::sample::record("toy", "Class.f"), &[]);
        call.process.origin = Some(("host".into(), "ab12".into()));
        call.self_id = Some(7);
        call.tensor_details = Vec::new().into();
        call
    }

    #[test]
    fn a_report_comes_back_with_every_digit() {
        let call = call();
        let report = full_report(&call);
        let line = serde_json::to_string(&Report::new(&report)).unwrap();
        let back: Report = serde_json::from_str(&line).unwrap();
        assert_eq!(text(&back.on(&call).unwrap()), text(&report));
    }

    #[test]
    fn every_verdict_comes_back() {
        let call = call();
        let text_of = |name: &str| name.to_owned();
        let deaths = [
            Death::Crashed(text_of("SIGSEGV")),
            Death::TimedOut(Duration::from_millis(1500)),
            Death::OutOfMemory,
            Death::Killed,
            Death::Exited(-1),
        ];
        let mut verdicts = vec![
            Verdict::Passed,
            Verdict::Failed { error: text_of("e") },
            Verdict::NothingCompared,
            Verdict::Skipped { reason: text_of("r") },
            Verdict::Damaged { reason: text_of("d") },
        ];
        verdicts.extend(deaths.clone().map(|death| Verdict::Died { death }));
        let outcomes = [Outcome::Ran, Outcome::Failed(text_of("f")), Outcome::NotRun(text_of("n"))];
        let outcomes = outcomes.into_iter().chain(deaths.map(Outcome::Died));
        verdicts.extend(outcomes.map(|outcome| Verdict::Incomplete { outcome }));
        for verdict in verdicts {
            let line = serde_json::to_string(&Report::new(&CallReport::without_run(&call, verdict.clone())));
            let back: Report = serde_json::from_str(&line.unwrap()).unwrap();
            assert_eq!(back.on(&call).unwrap().verdict, verdict);
        }
    }

    #[test]
    fn a_call_reaches_its_worker_as_it_was_listed() {
        let mut call = call();
        for state in [CallState::InputsSaved, CallState::Damaged { reason: "r".to_owned() }] {
            call.state = state;
            let request = Request::new(Some(1), &ReplayOptions::default(), vec![Step::new(3, true, &call)]);
            let back: Request = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
            assert_eq!(format!("{:?}", back.steps[0].call()), format!("{call:?}"));
            assert_eq!(format!("{:?}", back.replay_options()), format!("{:?}", ReplayOptions::default()));
        }
    }
}
