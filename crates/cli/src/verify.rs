//! `callbox verify`.

use std::io::{self, Write};

use callbox_verify::{Damage, Report, VerifyOptions, verify};
use serde::Serialize;

use crate::answer;
use crate::args::VerifyArgs;
use crate::exit::{Exit, Failure};
use crate::json::{self, FindingJson};
use crate::progress::Steps;
use crate::session;
use crate::{style, units};

/// Looks at every file of a session and tells what is damaged.
pub(crate) fn run(arguments: &VerifyArgs, program: &str) -> Result<Exit, Failure> {
    let read = callbox_sink_fs::ReadOptions::default();
    let options = VerifyOptions { dir: &arguments.dir, formats: session::formats(), read };
    let mut steps = Steps::default();
    let report = verify(&options, &mut |done, calls| steps.show(done, calls));
    drop(steps);
    let report = report.map_err(|error| session::one_too_high(&arguments.dir, error))?;
    let exit = Exit::from_verification(&report);
    let was_read = answer::print(|out| match arguments.json {
        true => print_json(out, arguments, &report, exit),
        false => print_text(out, arguments, &report, program),
    })?;
    if was_read && !arguments.json {
        style::tell_findings(&report.notes);
    }
    Ok(exit)
}

fn print_text(out: &mut dyn Write, arguments: &VerifyArgs, report: &Report, program: &str) -> io::Result<()> {
    let width = style::terminal_width().unwrap_or(usize::MAX);
    let mut damages = &report.damages[..];
    while let Some(first) = damages.first() {
        let len = damages.iter().take_while(|damage| damage.folder == first.folder).count();
        let (of_folder, others) = damages.split_at(len);
        print_folder(out, of_folder, width)?;
        damages = others;
    }
    for line in summary(report) {
        for line in style::wrapped(&line, width) {
            writeln!(out, "{line}")?;
        }
    }
    let dir = style::shell(&arguments.dir.to_string_lossy());
    match report.damages.iter().find_map(|damage| damage.call) {
        Some(call) => writeln!(out, "{program} show {dir} {}", call + 1),
        None => Ok(()),
    }
}

/// Prints what is damaged in one folder: its name, then a line for each file.
fn print_folder(out: &mut dyn Write, damages: &[Damage], width: usize) -> io::Result<()> {
    let Some(first) = damages.first() else { return Ok(()) };
    let number = first.call.map(|call| format!("  #{}", call + 1)).unwrap_or_default();
    let folder = match &*first.folder {
        "" => String::new(),
        folder => format!("  {}", style::clean(folder)),
    };
    let label = match damages.iter().all(|damage| damage.is_unread) {
        true => style::paint(style::yellow().bold(), "unreadable"),
        false => style::paint(style::red().bold(), "damaged"),
    };
    writeln!(out, "{label}{number}{folder}")?;
    let files: Vec<_> = damages.iter().map(|damage| style::clean(&damage.file)).collect();
    let column = files.iter().map(|file| file.chars().count()).max().unwrap_or_default().min(width / 3);
    for (file, damage) in files.iter().zip(damages) {
        let gap = if column > 0 { 2 } else { 0 };
        let indent = 2 + column + gap;
        let mut left = format!("  {file:<column$}{:gap$}", "");
        for line in style::wrapped(&style::clean(&damage.reason), width.saturating_sub(indent)) {
            writeln!(out, "{left}{line}")?;
            left = " ".repeat(indent);
        }
    }
    Ok(())
}

/// Says what was looked at, what is damaged, and what could not be told.
fn summary(report: &Report) -> Vec<String> {
    let totals = &report.totals;
    let (calls, files) = (units::counted(report.calls, "call"), units::counted(totals.files, "file"));
    let looked_at = format!(
        "{calls}, {files} of {}, {}",
        units::bytes(totals.bytes),
        units::counted(totals.records, "record")
    );
    let mut lines = vec![format!("{looked_at}: {}.", found(report))];
    let counts = [
        (totals.files_without_hash, "file", "without a hash"),
        (totals.files_not_hashed, "file", "with a hash of an unknown kind"),
        (totals.entries_without_checksum, "entry", "without a checksum"),
        (totals.records - totals.records_agree, "record", "without a hash"),
    ];
    let counts: Vec<_> = counts
        .iter()
        .filter(|(count, ..)| *count > 0)
        .map(|&(count, noun, what)| match (count, noun) {
            (count, "entry") if count > 1 => format!("{} entries {what}", units::count(count)),
            _ => format!("{} {what}", units::counted(count, noun)),
        })
        .collect();
    if !counts.is_empty() {
        lines.push(format!("Nothing to compare with: {}.", counts.join(", ")));
    }
    if totals.unstable > 0 {
        let files = units::counted(totals.unstable, "file");
        lines.push(format!("Unstable: {files} whose tensors changed while they were written."));
    }
    lines
}

/// Says in a few words what is damaged, and of what nothing is known.
fn found(report: &Report) -> String {
    let damaged = match report.damaged_files() {
        _ if !report.has_checked() && report.damages.is_empty() => {
            return "there was nothing to check".to_owned();
        }
        0 => "nothing is damaged".to_owned(),
        1 => "1 file is damaged or missing".to_owned(),
        files => format!("{} files are damaged or missing", units::count(files)),
    };
    match report.unread_files() {
        0 => damaged,
        1 => format!("{damaged}, 1 file cannot be read"),
        files => format!("{damaged}, {} files cannot be read", units::count(files)),
    }
}

#[derive(Serialize)]
struct VerifyJson<'a> {
    callbox: &'static str,
    dir: &'a str,
    damages: Vec<DamageJson<'a>>,
    notes: Vec<FindingJson<'a>>,
    summary: SummaryJson,
    exit_code: u8,
}

#[derive(Serialize)]
struct DamageJson<'a> {
    /// Number of the call, as `list` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<usize>,
    folder: &'a str,
    file: &'a str,
    reason: &'a str,
    /// It could not be read: nothing is known of what is in it.
    is_unread: bool,
}

#[derive(Serialize)]
struct SummaryJson {
    calls: usize,
    files: usize,
    bytes: u64,
    tensors: usize,
    records: usize,
    damaged_files: usize,
    unread_files: usize,
    files_agree: usize,
    files_without_hash: usize,
    files_not_hashed: usize,
    entries_without_checksum: usize,
    unstable: usize,
    records_agree: usize,
}

fn print_json(out: &mut dyn Write, arguments: &VerifyArgs, report: &Report, exit: Exit) -> io::Result<()> {
    let totals = &report.totals;
    let object = VerifyJson {
        callbox: env!("CARGO_PKG_VERSION"),
        dir: &arguments.dir.to_string_lossy(),
        damages: report
            .damages
            .iter()
            .map(|Damage { call, folder, file, reason, is_unread }| DamageJson {
                number: call.map(|call| call + 1),
                folder,
                file,
                reason,
                is_unread: *is_unread,
            })
            .collect(),
        notes: json::findings(&report.notes),
        summary: SummaryJson {
            calls: report.calls,
            files: totals.files,
            bytes: totals.bytes,
            tensors: totals.tensors,
            records: totals.records,
            damaged_files: report.damaged_files(),
            unread_files: report.unread_files(),
            files_agree: totals.files_agree,
            files_without_hash: totals.files_without_hash,
            files_not_hashed: totals.files_not_hashed,
            entries_without_checksum: totals.entries_without_checksum,
            unstable: totals.unstable,
            records_agree: totals.records_agree,
        },
        exit_code: exit.number(),
    };
    json::print(out, &object)
}
