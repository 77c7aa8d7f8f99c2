//! `callbox convert`.

use std::io::{self, Write};

use callbox_convert::{ConvertError, ConvertOptions, Deviation, DeviationKind, Report, convert};
use serde::Serialize;

use crate::answer;
use crate::args::ConvertArgs;
use crate::exit::{Exit, Failure};
use crate::json::{self, FindingJson};
use crate::progress::Steps;
use crate::session;
use crate::{style, units};

/// Rewrites a session in another format and tells what did not come out as asked.
pub(crate) fn run(arguments: &ConvertArgs, program: &str) -> Result<Exit, Failure> {
    let options = ConvertOptions {
        dir: &arguments.dir,
        out: &arguments.out,
        formats: session::formats(),
        to: session::format(arguments.to),
        read: session::options(&arguments.read),
    };
    let mut steps = Steps::default();
    let report = convert(&options, &mut |done, calls| steps.show(done, calls));
    drop(steps);
    let report = report.map_err(|error| failure(arguments, error))?;
    let exit = Exit::from_report(&report);
    let was_read = answer::print(|out| match arguments.json {
        true => print_json(out, arguments, &report, exit),
        false => print_text(out, arguments, &report, program),
    })?;
    if was_read && !arguments.json {
        style::tell_findings(&report.findings);
        tell_beside(&report.beside);
    }
    Ok(exit)
}

fn failure(arguments: &ConvertArgs, error: ConvertError) -> Failure {
    let exit = match error {
        ConvertError::Target(_) => Exit::Usage,
        ConvertError::Source(error) => return session::one_too_high(&arguments.dir, error),
        // A kind of error that this program does not know has stopped the conversion too.
        _ => Exit::Unreadable,
    };
    Failure { exit, error: error.into() }
}

fn print_text(
    out: &mut dyn Write,
    arguments: &ConvertArgs,
    report: &Report,
    program: &str,
) -> io::Result<()> {
    for Deviation { kind, place, reason } in &report.deviations {
        let label = style::paint(style::deviation(*kind), &format!("{:<8}", label(*kind)));
        writeln!(out, "{label}  {}: {}", style::clean(place), style::clean(reason))?;
    }
    let totals = &report.totals;
    let extension = session::format(arguments.to).format().extension;
    let files = units::counted(totals.converted, "file");
    write!(out, "{}, {files} written as .{extension} and read back", units::counted(report.calls, "call"))?;
    if totals.already > 0 {
        write!(out, ", {} of that kind already", units::count(totals.already))?;
    }
    let (before, now) = (units::bytes(totals.bytes_before), units::bytes(totals.bytes_after));
    writeln!(out, ". {before} before, {now} now.")?;
    let counts = DeviationKind::ALL.map(|kind| (kind, report.count(kind)));
    let counts: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).map(|&count| counted(count)).collect();
    if !counts.is_empty() {
        writeln!(out, "Not as asked: {}.", counts.join(", "))?;
    }
    if totals.layouts_lost > 0 {
        let tensors = units::counted(totals.layouts_lost, "tensor");
        writeln!(
            out,
            "{tensors} lost strides, offset, shared storage or marks, which .{extension} does not keep; the records have the strides."
        )?;
    }
    writeln!(out, "{program} replay --dir {}", style::shell(&arguments.out.to_string_lossy()))
}

fn label(kind: DeviationKind) -> &'static str {
    match kind {
        DeviationKind::Kept => "kept",
        DeviationKind::Damaged => "damaged",
        DeviationKind::LeftOut => "left out",
        DeviationKind::Differs => "DIFFERS",
    }
}

fn counted((kind, count): (DeviationKind, usize)) -> String {
    let count = units::count(count);
    match kind {
        DeviationKind::Kept => format!("{count} kept in their own format"),
        DeviationKind::Damaged => format!("{count} damaged and copied as they are"),
        DeviationKind::LeftOut => format!("{count} left out"),
        DeviationKind::Differs => format!("{count} that read back otherwise"),
    }
}

fn tell_beside(names: &[String]) {
    const SHOWN: usize = 5;
    if names.is_empty() {
        return;
    }
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| style::clean(name)).collect();
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    let left_out = units::counted(names.len(), "name");
    style::tell(&format!("note: {left_out} beside the calls not taken along: {}{more}", shown.join(", ")));
}

#[derive(Serialize)]
struct ConvertJson<'a> {
    callbox: &'static str,
    dir: &'a str,
    out: &'a str,
    to: &'static str,
    deviations: Vec<DeviationJson<'a>>,
    beside: &'a [String],
    findings: Vec<FindingJson<'a>>,
    summary: SummaryJson,
    exit_code: u8,
}

#[derive(Serialize)]
struct DeviationJson<'a> {
    kind: &'static str,
    place: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct SummaryJson {
    calls: usize,
    converted_files: usize,
    files_of_that_format: usize,
    copied_files: usize,
    records: usize,
    bytes_before: u64,
    bytes_after: u64,
    layouts_lost: usize,
    kept: usize,
    damaged: usize,
    left_out: usize,
    differs: usize,
}

fn print_json(out: &mut dyn Write, arguments: &ConvertArgs, report: &Report, exit: Exit) -> io::Result<()> {
    let totals = &report.totals;
    let object = ConvertJson {
        callbox: env!("CARGO_PKG_VERSION"),
        dir: &arguments.dir.to_string_lossy(),
        out: &arguments.out.to_string_lossy(),
        to: session::format(arguments.to).format().name,
        deviations: report
            .deviations
            .iter()
            .map(|Deviation { kind, place, reason }| DeviationJson { kind: kind.name(), place, reason })
            .collect(),
        beside: &report.beside,
        findings: json::findings(&report.findings),
        summary: SummaryJson {
            calls: report.calls,
            converted_files: totals.converted,
            files_of_that_format: totals.already,
            copied_files: totals.copied,
            records: totals.records,
            bytes_before: totals.bytes_before,
            bytes_after: totals.bytes_after,
            layouts_lost: totals.layouts_lost,
            kept: report.count(DeviationKind::Kept),
            damaged: report.count(DeviationKind::Damaged),
            left_out: report.count(DeviationKind::LeftOut),
            differs: report.count(DeviationKind::Differs),
        },
        exit_code: exit.number(),
    };
    json::print(out, &object)
}
