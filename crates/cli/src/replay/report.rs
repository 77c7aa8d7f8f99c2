//! The two reports of a replay: lines for people, one object for machines.

use std::borrow::Cow;
use std::io::{self, Write};

use callbox_core::Finding;
use callbox_replay::{CallReport, Counts, Death};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Out, Report, details};
use crate::args::ReplayArgs;
use crate::exit::Exit;
use crate::json::{self, CallJson, ComparisonJson};
use crate::style;

/// Opens the report that the arguments ask for.
pub(super) fn open<'a>(arguments: &'a ReplayArgs, out: Out) -> Box<dyn Report + 'a> {
    if arguments.json {
        return Box::new(Object { arguments, out, calls: Vec::new(), findings: Vec::new() });
    }
    Box::new(Lines { out, with_details: details::wanted() })
}

/// One line for each call, details under it where they are wanted, the counts at the end.
struct Lines {
    out: Out,
    with_details: bool,
}

impl Report for Lines {
    fn findings(&mut self, findings: &[Finding]) -> io::Result<()> {
        style::tell_findings(findings);
        Ok(())
    }

    fn call(&mut self, number: usize, report: &CallReport) -> io::Result<()> {
        let verdict = style::clean(&report.verdict.to_string());
        let verdict = style::paint(style::verdict(&report.verdict), &verdict);
        let name = style::clean(report.call.function.name());
        let folder = style::clean(&report.call.folder);
        style::tell_findings(&report.findings);
        writeln!(self.out, "[{number}] {name} ({folder}): {verdict}")?;
        if self.with_details {
            for line in details::details(report) {
                writeln!(self.out, "    {line}")?;
            }
        }
        // A line should be out when its call is done: somebody watches, or the next call ends this process.
        self.out.flush()
    }

    fn finish(&mut self, counts: &Counts, _: Exit) -> io::Result<()> {
        writeln!(self.out, "\n{counts}")?;
        self.out.flush()
    }
}

/// Everything in one object.
struct Object<'a> {
    arguments: &'a ReplayArgs,
    out: Out,
    calls: Vec<Box<RawValue>>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct ReportJson<'a> {
    callbox: &'static str,
    dir: &'a str,
    device: String,
    calls: &'a [Box<RawValue>],
    findings: Vec<json::FindingJson<'a>>,
    summary: SummaryJson,
    exit_code: u8,
}

#[derive(Serialize)]
struct SummaryJson {
    passed: usize,
    failed: usize,
    mismatch: usize,
    error: usize,
    died: usize,
    damaged: usize,
    incomplete: usize,
    nothing_compared: usize,
    skipped: usize,
}

#[derive(Serialize)]
struct VerdictJson<'a> {
    #[serde(flatten)]
    call: CallJson<'a>,
    verdict: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    death: Option<DeathJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    printed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<ComparisonJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<json::FindingJson<'a>>,
}

/// How a call ended its process.
#[derive(Serialize)]
#[serde(tag = "how", rename_all = "snake_case")]
enum DeathJson<'a> {
    Crashed { signal: &'a str },
    TimedOut { seconds: f64 },
    OutOfMemory,
    Killed,
    Exited { code: i32 },
}

impl<'a> From<&'a Death> for DeathJson<'a> {
    fn from(death: &'a Death) -> DeathJson<'a> {
        match death {
            Death::Crashed(signal) => DeathJson::Crashed { signal },
            Death::TimedOut(limit) => DeathJson::TimedOut { seconds: limit.as_secs_f64() },
            Death::OutOfMemory => DeathJson::OutOfMemory,
            Death::Killed => DeathJson::Killed,
            Death::Exited(code) => DeathJson::Exited { code: *code },
        }
    }
}

impl Report for Object<'_> {
    fn findings(&mut self, findings: &[Finding]) -> io::Result<()> {
        self.findings = findings.to_vec();
        Ok(())
    }

    fn call(&mut self, number: usize, report: &CallReport) -> io::Result<()> {
        let verdict = VerdictJson {
            call: CallJson::new(number, &report.call),
            verdict: report.verdict.name(),
            text: report.verdict.to_string(),
            reason: report.verdict.reason(),
            death: report.verdict.death().map(DeathJson::from),
            printed: report.printed.as_deref(),
            comparison: report.comparison.as_ref().map(ComparisonJson::from),
            findings: json::findings(&report.findings),
        };
        self.calls.push(to_raw_value(&verdict)?);
        self.findings.extend(report.findings.iter().cloned());
        Ok(())
    }

    fn finish(&mut self, counts: &Counts, exit: Exit) -> io::Result<()> {
        let object = ReportJson {
            callbox: env!("CARGO_PKG_VERSION"),
            dir: &self.arguments.dir().to_string_lossy(),
            device: self.arguments.device.to_string(),
            calls: &self.calls,
            findings: json::findings(&self.findings),
            summary: SummaryJson {
                passed: counts.passed,
                failed: counts.bad(),
                mismatch: counts.mismatch,
                error: counts.error,
                died: counts.died,
                damaged: counts.damaged,
                incomplete: counts.incomplete,
                nothing_compared: counts.nothing_compared,
                skipped: counts.skipped,
            },
            exit_code: exit.number(),
        };
        json::print(&mut self.out, &object)
    }
}
