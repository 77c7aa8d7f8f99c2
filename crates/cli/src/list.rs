//! `callbox list`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, IsTerminal, Write};

use callbox_core::{CallState, DumpedCall, GroupSummary, TensorMeta};
use serde::Serialize;

use crate::args::{ListArgs, ReadArgs};
use crate::exit::{Exit, Failure};
use crate::json::{self, CallJson, DescribedJson, FindingJson, GroupJson};
use crate::session::{self, Opened};
use crate::{style, units};

/// Lists the calls of a session.
pub(crate) fn run(arguments: &ListArgs, program: &str) -> Result<Exit, Failure> {
    let opened = session::open(&arguments.dir, &ReadArgs { mmap: false })?;
    let filter = session::filter(&arguments.select);
    let calls: Vec<_> = (1..)
        .zip(&opened.session.calls)
        .filter(|(_, call)| opened.is_wanted(call) && filter.allows(&call.function))
        .collect();
    let mut out = BufWriter::new(anstream::stdout().lock());
    if arguments.json {
        print_json(&mut out, &opened, &calls)?;
        return Ok(Exit::Good);
    }
    print_table(&mut out, &calls)?;
    print_summary(&mut out, &calls, arguments, program)?;
    out.flush()?;
    for finding in &opened.session.findings {
        style::tell(&format!("note: {finding}"));
    }
    Ok(Exit::Good)
}

type Numbered<'a> = (usize, &'a DumpedCall);

/// One call as the table prints it.
struct Row {
    number: String,
    time: String,
    process: String,
    function: String,
    state: String,
    inputs: String,
    outputs: String,
}

fn print_table(out: &mut dyn Write, calls: &[Numbered<'_>]) -> io::Result<()> {
    let hosts: BTreeSet<_> = calls.iter().map(|(_, call)| host(call)).collect();
    let header = Row {
        number: "#".to_owned(),
        time: "time".to_owned(),
        process: if hosts.len() > 1 { "pid@host" } else { "pid" }.to_owned(),
        function: "function".to_owned(),
        state: "status".to_owned(),
        inputs: "inputs".to_owned(),
        outputs: "outputs".to_owned(),
    };
    let rows = || calls.iter().map(|&(number, call)| row(number, call, hosts.len() > 1));
    // The rows are formatted twice: a session of a million calls need not be held as text.
    let mut widths = cells(&header).map(|cell| cell.chars().count());
    for row in rows() {
        for (width, cell) in widths.iter_mut().zip(cells(&row)) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let terminal = terminal_width();
    print_row(out, &header, &widths, style::dim(), terminal)?;
    for (row, (_, call)) in rows().zip(calls) {
        print_row(out, &row, &widths, style::state(&call.state), terminal)?;
    }
    Ok(())
}

fn cells(row: &Row) -> [&str; 6] {
    [&row.number, &row.time, &row.process, &row.function, &row.state, &row.inputs]
}

/// Prints a row; on a terminal the last columns are cut to its width, in a pipe nothing is.
fn print_row(
    out: &mut dyn Write,
    row: &Row,
    widths: &[usize; 6],
    status: anstyle::Style,
    terminal: usize,
) -> io::Result<()> {
    let [number, time, process, function, state, inputs] = *widths;
    let left = format!(
        "{:>number$}  {:<time$}  {:<process$}  {:<function$}  ",
        row.number, row.time, row.process, row.function
    );
    let right = format!("{:<inputs$}  {}", row.inputs, row.outputs);
    let room = terminal.saturating_sub(left.chars().count() + state + 2);
    let right = cut(right.trim_end(), room);
    let state = style::paint(status, &format!("{:<state$}", row.state));
    writeln!(out, "{left}{state}  {right}")
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn terminal_width() -> usize {
    if !io::stdout().is_terminal() {
        return usize::MAX;
    }
    terminal_size::terminal_size().map_or(usize::MAX, |(terminal_size::Width(width), _)| usize::from(width))
}

fn host(call: &DumpedCall) -> Option<&str> {
    call.process.origin.as_ref().map(|(host, _)| &**host)
}

fn row(number: usize, call: &DumpedCall, with_host: bool) -> Row {
    let process_id = call.process.process_id.to_string();
    let (inputs, outputs) = split(call);
    Row {
        number: number.to_string(),
        time: units::time_of_day(&call.timestamp),
        process: match host(call) {
            Some(host) if with_host => format!("{process_id}@{host}"),
            Some(_) | None => process_id,
        },
        function: call.function.name().to_owned(),
        state: state_text(&call.state).to_owned(),
        inputs: tensors(&call.inputs, inputs),
        outputs: tensors(&call.outputs, outputs),
    }
}

/// Descriptions of tensors by their keys.
type Details<'a> = &'a [(String, TensorMeta)];

/// Splits the described tensors into arguments and results; the arguments come first.
fn split(call: &DumpedCall) -> (Details<'_>, Details<'_>) {
    call.tensor_details.split_at(call.inputs.tensors.min(call.tensor_details.len()))
}

/// Writes a group in a few words: `2 tensors  24 KiB  float16 [4, 64], [64]`. A dtype stands until the next.
fn tensors(summary: &GroupSummary, details: Details<'_>) -> String {
    if summary.tensors == 0 {
        return "-".to_owned();
    }
    let mut text = format!("{}  {}", units::counted(summary.tensors, "tensor"), units::bytes(summary.bytes));
    let mut dtype = "";
    for (place, (_, meta)) in details.iter().enumerate() {
        text.push_str(if place == 0 { "  " } else { ", " });
        if meta.dtype != dtype {
            dtype = &meta.dtype;
            text.push_str(dtype.trim_start_matches("torch."));
            text.push(' ');
        }
        text.push_str(&units::shape(&meta.shape));
    }
    text
}

fn state_text(state: &CallState) -> &'static str {
    match state {
        CallState::Completed => "completed",
        CallState::InputsSaved => "CRASHED?",
        CallState::OutputsUnconfirmed => "unconfirmed",
        CallState::Failed => "failed",
        CallState::OutputsSkipped => "outputs skipped",
        CallState::GraphPending => "graph pending",
        CallState::GraphCaptured => "graph captured",
        CallState::NotStarted => "empty",
        CallState::Damaged { .. } => "damaged",
    }
}

/// Ends with what the eye should fall on and the next command to type.
fn print_summary(
    out: &mut dyn Write,
    calls: &[Numbered<'_>],
    arguments: &ListArgs,
    program: &str,
) -> io::Result<()> {
    let completed = calls.iter().filter(|(_, call)| call.state == CallState::Completed).count();
    let bytes = calls.iter().map(|(_, call)| call.inputs.bytes.saturating_add(call.outputs.bytes));
    let bytes = bytes.fold(0, u64::saturating_add);
    let suspects: Vec<_> =
        calls.iter().filter(|(_, call)| call.state.is_suspected_crash()).map(|(number, _)| *number).collect();
    let mut others = BTreeMap::new();
    for (_, call) in calls {
        if call.state != CallState::Completed && !call.state.is_suspected_crash() {
            *others.entry(state_text(&call.state)).or_insert(0) += 1;
        }
    }
    write!(out, "{}, {completed} completed", units::counted(calls.len(), "call"))?;
    if let Some(last) = suspects.last() {
        let text = match suspects.len() {
            1 => format!("1 suspected crash (#{last})"),
            n => format!("{} suspected crashes (last #{last})", units::count(n)),
        };
        write!(out, ", {}", style::paint(style::red().bold(), &text))?;
    }
    for (state, calls) in others {
        write!(out, ", {} {state}", units::count(calls))?;
    }
    write!(out, ". {}.", units::bytes(bytes))?;
    let dir = arguments.dir.display();
    match (suspects.last(), calls.first()) {
        (Some(last), _) => writeln!(out, " {program} show {dir} {last}"),
        (None, Some(_)) => writeln!(out, " {program} replay --dir {dir}"),
        (None, None) => writeln!(out),
    }
}

#[derive(Serialize)]
struct ListJson<'a> {
    calls: Vec<ListedJson<'a>>,
    findings: Vec<FindingJson<'a>>,
}

#[derive(Serialize)]
struct ListedJson<'a> {
    #[serde(flatten)]
    call: CallJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    inputs: GroupJson<'a>,
    outputs: GroupJson<'a>,
}

fn print_json(out: &mut dyn Write, opened: &Opened, calls: &[Numbered<'_>]) -> io::Result<()> {
    let calls = calls
        .iter()
        .map(|&(number, call)| {
            let (inputs, outputs) = split(call);
            ListedJson {
                call: CallJson::new(number, call),
                reason: call.state.damage(),
                inputs: group_json(&call.inputs, inputs),
                outputs: group_json(&call.outputs, outputs),
            }
        })
        .collect();
    json::print(out, &ListJson { calls, findings: json::findings(&opened.session.findings) })
}

fn group_json<'a>(summary: &GroupSummary, details: Details<'a>) -> GroupJson<'a> {
    let tensors = details.iter().map(|(key, meta)| DescribedJson::new(key, meta)).collect();
    GroupJson { bytes: summary.bytes, tensors }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(dtype: &str, shape: &[usize]) -> (String, TensorMeta) {
        let meta = TensorMeta {
            shape: shape.to_vec(),
            strides: Vec::new(),
            dtype: format!("torch.{dtype}"),
            device: "cpu".to_owned(),
        };
        (String::new(), meta)
    }

    #[test]
    fn a_group_is_told_in_a_few_words() {
        let details = [meta("float16", &[4, 64]), meta("float16", &[64]), meta("int32", &[])];
        let summary = GroupSummary { tensors: 3, bytes: 24_576 };
        assert_eq!(tensors(&summary, &details), "3 tensors  24 KiB  float16 [4, 64], [64], int32 []");
        assert_eq!(tensors(&GroupSummary::default(), &[]), "-");
    }

    #[test]
    fn a_row_is_cut_to_the_terminal_and_nowhere_else() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcdef", usize::MAX), "abcdef");
    }
}
